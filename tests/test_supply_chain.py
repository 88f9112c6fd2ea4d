"""Where what we build from comes from: pinned, hashed, and with no more rights than it needs."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))


def faults_of_workflow(text):
    """What a workflow does that a stranger's change to an action, or to a title, could use."""
    pinned = r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v[\w.]+"
    faults = [
        f"not pinned by commit, with the version beside it: {line}"
        for line in re.findall(r"^[\s-]*uses:\s*(.*)$", text, re.MULTILINE)
        if not re.fullmatch(pinned, line.strip())
    ]
    if not re.search(r"^permissions:\n  contents: read\n(?! )", text, re.MULTILINE):
        faults.append("the workflow's permissions are not `contents: read` alone")
    if re.search(r"^ +permissions:", text, re.MULTILINE) or "write" in text:
        faults.append("a job has permissions of its own, or something may write")
    if "pull_request_target" in text or "secrets." in text:
        faults.append("runs strangers' changes with our rights, or has secrets")
    if text.count("actions/checkout@") != text.count("persist-credentials: false"):
        faults.append("a checkout leaves its credentials")
    faults += [
        f"a run line is made of what a stranger writes: {line}"
        for line in re.findall(r"run:.*", text)
        if "github.event" in line or "github.head_ref" in line
    ]
    return faults


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_pinned_actions_and_few_rights(workflow):
    """Guards against an action that changes under its tag, and a token that may write."""
    assert not faults_of_workflow(workflow.read_text())


GOOD = f"""
permissions:
  contents: read

jobs:
  one:
    steps:
      - uses: actions/checkout@{"0" * 40} # v1.2
        with:
          persist-credentials: false
      - run: make test
"""


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (f"@{'0' * 40} # v1.2", "@v1"),
        (f"@{'0' * 40} # v1.2", f"@{'0' * 40}"),
        ("contents: read\n", "contents: read\n  packages: read\n"),
        ("permissions:\n  contents: read\n", ""),
        ("  one:\n", "  one:\n    permissions: {}\n"),
        ("persist-credentials: false", "fetch-depth: 1"),
        ("run: make test", "run: echo ${{ github.event.pull_request.title }}"),
        ("jobs:", "on: pull_request_target\njobs:"),
    ],
)
def test_a_careless_workflow_is_noticed(good, bad):
    assert not faults_of_workflow(GOOD)
    assert GOOD.count(good) == 1
    assert faults_of_workflow(GOOD.replace(good, bad))


@pytest.mark.parametrize("lock", ["Cargo.lock", "fuzz/Cargo.lock"])
def test_each_crate_has_its_checksum(lock):
    """Guards against a crate from elsewhere, which could change."""
    packages = (ROOT / lock).read_text().split("[[package]]")[1:]
    foreign = [package for package in packages if "\nsource = " in package]
    assert len(foreign) >= len(packages) - 2, "only our own crates lie here"
    for package in foreign:
        assert 'source = "registry+https://github.com/rust-lang/crates.io-index"' in package
        assert re.search(r'^checksum = "[0-9a-f]{64}"$', package, re.MULTILINE)


def test_cargo_takes_the_lock_as_it_is():
    """Guards against a build of newer crates than were checked."""
    words = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    for line in re.findall(
        r"^\t.*\bcargo (?:test|clippy|bench|run|build)\b.*$", words, re.MULTILINE
    ):
        assert "--locked" in line, line


def load_setup():
    spec = importlib.util.spec_from_file_location("subpool_setup", ROOT / "tools" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def test_each_python_package_is_locked_with_its_hashes():
    """Guards against a group that was changed without `make lock`: setup would take the newest."""
    setup = load_setup()
    for group in ("dev", "docs", "bench", "tools"):
        assert setup.is_locked(group), f"{group}: run `make lock`"
        parts = re.split(r"^(?=[\w])", setup.locked_file(group).read_text(), flags=re.MULTILINE)[1:]
        assert parts
        pinned = re.compile(r"[\w.\[\],-]+==\S+ (;.*)?\\\n    --hash=sha256:[0-9a-f]{64}")
        for part in parts:
            assert pinned.match(part), part
