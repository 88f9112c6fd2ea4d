"""`subpool doctor`: each verdict, what it examines, and how it tells."""

import ctypes.util
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from subpool.__main__ import main
from subpool.doctor import examination, report, targets
from subpool.doctor.examination import Finding

PATIENTS = Path(__file__).parent / "patients"

# psycopg goes on without psycopg-binary only if it finds the system's libpq.
PSYCOPG = "works in pure Python only" if ctypes.util.find_library("pq") else "refuses"

# Verified by hand with each library's own words: what it says in an interpreter, in November 2026.
LIBRARIES = {
    "numpy": ("refuses", "numpy._core._multiarray_umath", "numpy"),
    "pydantic": ("refuses", "pydantic_core._pydantic_core", "pydantic_core"),
    "orjson": ("refuses", "orjson.orjson", "orjson"),
    "polars": ("refuses", "_polars_runtime_32._polars_runtime", "polars-runtime-32"),
    "psycopg": (PSYCOPG, "psycopg_binary.pq", "psycopg-binary"),
    "protobuf": ("works in pure Python only", "google._upb._message", "protobuf"),
    "Django": ("works", None, None),
    "Flask": ("works", None, None),
    "SQLAlchemy": ("refuses", "sqlalchemy.util._collections_cy", "SQLAlchemy"),
    "PyYAML": ("works in pure Python only", "yaml._yaml", "PyYAML"),
    "lxml": ("refuses", "lxml.etree", "lxml"),
    "cryptography": ("refuses", "cryptography.hazmat.bindings._rust", "cryptography"),
}
IS_THERE = {name: name != "PyYAML" or sys.version_info < (3, 15) for name in LIBRARIES}


@pytest.fixture(scope="module")
def examined():
    """The twelve libraries, examined by the command."""
    names = [name for name, there in IS_THERE.items() if there]
    command = [sys.executable, "-m", "subpool", "doctor", "--json", *names, "no-such-library"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert ended.returncode == 1, ended.stderr
    told = json.loads(ended.stdout)
    assert told["ok"] is False
    assert [entry["name"] for entry in told["results"]] == [*names, "no-such-library"]
    return {entry["name"]: entry for entry in told["results"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library(examined, name):
    """polars imports and is broken; psycopg, protobuf and PyYAML have two halves."""
    if not IS_THERE[name]:
        pytest.skip("PyYAML has no wheel for this Python")
    verdict, extension, owner = LIBRARIES[name]
    found = examined[name]
    assert found["verdict"] == verdict, found
    assert found["version"] == metadata.version(name)
    assert bool(found["todo"]) == (verdict != "works")
    if extension is None:
        assert found["extensions"] == []
    else:
        refused = {entry["name"]: entry for entry in found["extensions"]}
        assert refused[extension]["distribution"] == owner
        assert refused[extension]["version"] == metadata.version(owner)


@pytest.mark.slow
def test_a_library_that_is_not_there(examined):
    """A typing mistake is no library that works."""
    assert examined["no-such-library"]["verdict"] == "not installed"


@pytest.fixture
def patients(monkeypatch):
    """Run in the folder of the patients, as one does with modules of one's own."""
    monkeypatch.chdir(PATIENTS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


VERDICTS = {
    "patient_fine": ("works", ""),
    "patient_fails": ("fails", "ValueError"),
    "patient_exits": ("fails", "import patient_exits: SystemExit: 3"),
    "patient_broken": ("cannot tell", "RuntimeError: broken everywhere"),
    "patient_crashes": ("crashes", "when it loads: SIGSEGV"),
    "patient_crashes_late": ("crashes", "when its interpreter is closed: exit code 7"),
    "patient_beside": ("fails", "RuntimeError: one copy is enough"),
    "faulthandler": ("refuses", "import faulthandler: ImportError"),
}


@pytest.mark.slow
def test_the_verdicts(patients, capsys):
    """Whatever a library does to its process, there is a verdict on it, and on those after it."""
    assert main(["doctor", "--json", *VERDICTS]) == 1
    told = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["results"]}
    for name, (verdict, detail) in VERDICTS.items():
        assert told[name]["verdict"] == verdict, told[name]
        assert detail in told[name]["detail"]
        assert told[name]["beside"] == (name == "patient_beside")
    assert "Segmentation fault" in told["patient_crashes"]["traceback"]
    assert "broken everywhere" in told["patient_broken"]["traceback"]


@pytest.mark.slow
def test_a_library_that_hangs(patients, monkeypatch, tmp_path):
    """It is stopped after the timeout, which is over here as soon as it hangs."""
    sign = tmp_path / "sign"
    monkeypatch.setenv("PATIENT_HANGS", str(sign))
    wait = subprocess.Popen.wait

    def impatient(child, timeout=None):
        job = json.loads(child.args[-2])
        while timeout is not None and job["interpreter"]:
            try:
                return wait(child, 0.01)
            except subprocess.TimeoutExpired:
                if sign.exists():
                    raise
        return wait(child, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", impatient)
    monkeypatch.syspath_prepend(PATIENTS)
    finding = examination.examine(targets.Target("patient_hangs", modules=("patient_hangs",)), 60)
    assert (finding.verdict, finding.detail) == ("hangs", "when it loads: did not end in 60 s")


@pytest.fixture
def judged(monkeypatch):
    """Let the command find what it is to examine, and examine nothing."""
    seen = []

    def examine(target, _timeout):
        seen.append(target)
        verdict = "works" if target.installed else "not installed"
        return Finding(target.name, target.version, verdict)

    monkeypatch.setattr("subpool.doctor.command.examine", examine)
    return seen


def test_a_requirements_file(judged, tmp_path, capsys):
    """As pip reads it: comments, options, markers, files within files."""
    (tmp_path / "more.txt").write_text("orjson\n-r requirements.txt\n")
    file = tmp_path / "requirements.txt"
    file.write_text(
        "# comment\n\nNumpy>=2  # another\npsycopg[binary] >= 3\n-r more.txt\n--no-binary :all:\n"
        "lxml \\\n  --hash=sha256:abc\nno-such-library; sys_platform == 'nowhere'\n"
    )
    assert main(["doctor", "--requirements", str(file)]) == 0
    assert sorted(target.name for target in judged) == sorted(
        ["numpy", "psycopg", "orjson", "lxml"]
    )
    file.write_text("no-such-library>=1\n")
    assert main(["doctor", "-r", str(file)]) == 1
    assert "not installed" in capsys.readouterr().out


def test_a_project(judged, tmp_path, monkeypatch, capsys):
    """The dependencies of the folder that one is in."""
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "--project"]) == 2
    assert "cannot read" in capsys.readouterr().err
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\nname = "x"\ndependencies = ["flask>=3", "numpy"]\n')
    assert main(["doctor", "--project"]) == 0
    file.write_text('[tool.poetry.dependencies]\npython = "^3.14"\norjson = "*"\n')
    assert main(["doctor", "--project"]) == 0
    assert sorted(target.name for target in judged) == sorted(["Flask", "numpy", "orjson"])
    file.write_text('[project]\nname = "x"\ndynamic = ["dependencies"]\n')
    assert main(["doctor", "--project"]) == 2
    assert "--requirements" in capsys.readouterr().err


def test_modules_and_distributions(judged, capsys):
    """One may say what one installs, or what one imports."""
    assert main(["doctor", "google.protobuf", "json", "Psycopg_Binary", "orjson", "json"]) == 0
    # Examined side by side, so in any order.
    order = ["protobuf", "json", "psycopg-binary", "orjson"]
    protobuf, standard, binary, orjson = sorted(judged, key=lambda one: order.index(one.name))
    assert protobuf.modules == ("google.protobuf",)
    assert "google._upb._message" in protobuf.extensions
    assert standard.modules == ("json",)
    assert binary.modules == ("psycopg_binary",)
    assert orjson.extensions == ("orjson.orjson",)
    assert main(["doctor", "not a name"]) == 2
    assert "no name of a distribution" in capsys.readouterr().err


def test_everything(judged):
    """Without arguments, what is installed: each once, and not subpool itself."""
    main(["doctor"])
    names = [target.name for target in judged]
    assert {"numpy", "Flask", "pytest"} <= set(names)
    assert "subpool" not in names
    assert len(names) == len(set(names))
    assert all(target.modules for target in judged)


@pytest.mark.parametrize(
    "arguments",
    [[], ["unknown"], ["doctor", "--timeout", "0"], ["doctor", "--jobs", "x"], ["doctor", "--no"]],
)
def test_a_wrong_command_line(arguments, capsys):
    """Exit code 2, as for other commands: 1 says that a library does not work."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: subpool" in capsys.readouterr().err


FINDINGS = [
    Finding("fine", "1.0", "works"),
    Finding(
        "halved", "2.0", "works in pure Python only", "goes on without halved._fast",
        extensions=[{"name": "halved._fast", "distribution": "halved", "version": "2"}],
    ),
    Finding(
        "array", "3.0", "refuses", "import array: ImportError: words",
        extensions=[{"name": "numpy._x", "path": None, "distribution": "numpy", "version": "4.0"}],
        modules=["array"],
    ),
    Finding("deadly", "5.0", "crashes", "when it loads: SIGSEGV", beside=True),
]  # fmt: skip


@pytest.mark.parametrize("rich", [True, False])
def test_the_table(monkeypatch, capsys, rich):
    """With rich and without: the same words."""
    monkeypatch.setenv("COLUMNS", "150")
    if not rich:
        monkeypatch.setattr(report, "find_spec", lambda _name: None)
    report.show(FINDINGS)
    shown = capsys.readouterr().out
    assert ("┃" in shown) == rich
    for text in (
        "goes on without halved._fast",
        "numpy._x of numpy 4.0",
        "when it loads: SIGSEGV, if the main interpreter has loaded it before",
        'fallback="process"',
        "memoryview(array)",
        "1 works, 1 works in pure Python only, 1 refuses, 1 crashes",
    ):
        assert text in " ".join(shown.split()), shown


def test_the_console_script():
    """`pip install subpool` gives the command."""
    (script,) = metadata.entry_points(group="console_scripts", name="subpool")
    assert script.load() is main


def test_uses_and_advice_name_distributions():
    """An entry under any other spelling was never found."""
    from subpool._advice import _ADVICE
    from subpool.doctor.uses import FIRST, USES

    for name in [*_ADVICE, *USES, *FIRST]:
        assert targets.normalized(name) == name
    for use in USES.values():
        compile(use, "use", "exec")
