"""The benchmark's own promises, with small runs; what it measures is not judged here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

BENCH = Path(__file__).parent.parent / "bench"
SOURCE = Path(__file__).parent.parent / "python"

pytestmark = pytest.mark.slow


def bench(*arguments):
    command = [sys.executable, BENCH / "bench.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def run_data(**samples):
    """What a run of these samples writes as JSON: `name={pool: [value or reason, ...]}`."""
    peers = {peer: peer for found in samples.values() for peer in found}
    return {
        "machine": {
            **dict.fromkeys(("python", "subpool", "cpu", "system", "date"), "some"),
            **dict.fromkeys(("cpus", "usable_cpus", "load"), 2),
            "peers": {},
        },
        "settings": {"workers": 2, "sizes": [1024]},
        "rounds": 1,
        "cases": ["burst"],
        "peers": peers,
        "absent": [],
        "samples": {
            name: {peer: [outcome(value) for value in values] for peer, values in found.items()}
            for name, found in samples.items()
        },
    }


def outcome(value):
    return {"value": None, "missing": value} if isinstance(value, str) else {"value": value}


@pytest.fixture
def shown(tmp_path):
    """Give the result of showing samples as if they had been measured."""

    def shown(*arguments, **samples):
        file = tmp_path / "run.json"
        file.write_text(json.dumps(run_data(**samples)))
        return bench("--from", file, *arguments)

    return shown


def test_a_run_gives_table_json_and_plot(tmp_path):
    """A run that failed when it came to report had measured for nothing."""
    data, plot = tmp_path / "run.json", tmp_path / "run.svg"
    wanted = ("--cases", "burst,round-trip", "--peers", "subpool,threads")
    done = bench("--quick", *wanted, "--json", data, "--plot", plot)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "burst" in done.stdout
    assert "Targets" in done.stdout

    found = json.loads(data.read_text())
    assert found["samples"].keys() == {"burst", "round trip", "round trip p99"}
    for peers in found["samples"].values():
        assert [peers[peer][0]["value"] > 0 for peer in ("subpool", "threads")] == [True, True]
    tags = [element.tag.rpartition("}")[2] for element in ET.parse(plot).iter()]  # noqa: S314 - ours
    assert tags.count("rect") == 4, "two pools, two groups of bars"

    again = tmp_path / "again.json"
    assert bench("--from", data, "--json", again).returncode == 0
    assert json.loads(again.read_text()) == found


def test_a_slow_cell_is_ended_and_the_run_goes_on(tmp_path):
    """A pool that hung (aiointerpreters' Runner can) held up all others for ever."""
    data = tmp_path / "run.json"
    wanted = ("--cases", "burst", "--peers", "subpool,threads", "--limit", "0.01")
    done = bench("--quick", *wanted, "--json", data)
    assert done.returncode == 0, done.stdout + done.stderr
    samples = json.loads(data.read_text())["samples"]["burst"]
    assert [samples[peer][0]["missing"] for peer in samples] == ["over 0.01 s"] * 2


def test_what_a_pool_refuses_is_said(tmp_path):
    """One refused payload cost the numbers of the others, or left its cell empty."""
    found = tmp_path / "found"
    settings = json.dumps({"sizes": [1024], "payload_budget": 0.001})
    paths = os.pathsep.join(map(str, (BENCH, SOURCE)))
    subprocess.run(
        [sys.executable, BENCH / "cell.py", "payload-in", "processes", settings, found],
        env={**os.environ, "PYTHONPATH": paths},
        timeout=60,
        check=True,
    )
    lines = {entry["name"]: entry for entry in map(json.loads, found.read_text().splitlines())}
    assert lines["in/memoryview/1 KiB"]["refused"] == "TypeError"
    assert lines["in/str/1 KiB"]["value"] > 0, "it comes after the memoryview"


def test_a_refusal_is_shown(shown, tmp_path):
    """An empty cell looks as if nobody had asked."""
    plot = tmp_path / "run.svg"
    done = shown("--plot", plot, burst={"subpool": [1e-6], "loky": ["refused: OddError"]})
    assert done.returncode == 0, done.stderr
    assert "OddError" in done.stdout
    assert "OddError" in plot.read_text()


@pytest.mark.parametrize(("theirs", "verdict"), [(59.99e-6, "MISSED"), (60.01e-6, "met")])
def test_a_target_is_judged_by_the_ratio_and_no_failure(shown, theirs, verdict):
    """A ratio rounded up met what it had missed; a missed target failed the command."""
    done = shown(burst={"subpool": [1e-6], "interpreters": [theirs]})
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "at least 60" in line]
    assert verdict in line
    assert ("59.9" if verdict == "MISSED" else "60.0") in line


def test_a_ratio_is_taken_within_its_round(shown):
    """Medians of different rounds compare one pool's good moment with another's bad one."""
    rounds = {"subpool": [1e-6, 100e-6, 2e-6], "interpreters": [70e-6, 7000e-6, 20e-6]}
    done = shown(burst=rounds)
    (line,) = [line for line in done.stdout.splitlines() if "at least 60" in line]
    assert "70.0" in line, "35 is what the medians give"


@pytest.mark.parametrize(("ours", "verdict"), [(12.01e-6, "MISSED"), (11.99e-6, "met")])
def test_to_thread_is_judged_against_what_the_others_can(shown, tmp_path, ours, verdict):
    """The standard interpreter pool refuses `to_thread`, and so had no figure to compare with."""
    file = tmp_path / "judged.json"
    done = shown(
        "--json",
        file,
        gather={"subpool": [2e-6], "interpreters": [60e-6]},
        to_thread={"subpool": [ours], "interpreters": ["refused: NotShareableError"]},
    )
    assert done.returncode == 0, done.stderr
    judged = {
        (target["what"], target["against"]): target["verdict"]
        for target in json.loads(file.read_text())["targets"]
    }
    assert judged["gather of to_thread", "stdlib interpreters, gather"] == verdict
    assert judged["gather of to_thread, tagged", "stdlib interpreters, gather"] == "not judged"
    assert judged["gather of 20k run calls", "stdlib interpreters"] == "met"


def test_asyncio_is_measured_in_each_pools_own_way(tmp_path):
    """subpool was measured by `run_in_executor` alone, which is not how one awaits it."""
    data = tmp_path / "run.json"
    wanted = ("--cases", "gather,await", "--peers", "subpool,subpool-threads,threads")
    done = bench("--quick", *wanted, "--json", data)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(data.read_text())["samples"]
    values = [outcome["value"] for peers in found.values() for (outcome,) in peers.values()]
    assert len(values) == 6
    assert all(value > 0 for value in values)


def test_a_case_about_some_pools_leaves_the_others_alone(tmp_path):
    """`run_in_executor` is the own way of most pools: measured twice under two names."""
    data = tmp_path / "run.json"
    wanted = ("--cases", "gather-executor,await-executor,to-thread")
    done = bench("--quick", *wanted, "--peers", "subpool-threads,threads", "--json", data)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(data.read_text())["samples"]
    assert found["gather executor"].keys() == {"subpool-threads"}
    assert found["await executor"].keys() == {"subpool-threads"}
    assert found["to_thread"].keys() == {"subpool-threads", "threads"}
    values = [outcome["value"] for peers in found.values() for (outcome,) in peers.values()]
    assert all(value > 0 for value in values)


def test_a_wrong_result_fails_the_run(shown):
    """The time of a wrong answer was reported like any other."""
    done = shown(burst={"subpool": ["WRONG RESULT"], "threads": [1e-6]})
    assert done.returncode == 1
    assert "WRONG RESULT: subpool, burst" in done.stdout


def test_markdown_goes_between_its_marks(monkeypatch):
    """What stands around the tables in the page was lost."""
    monkeypatch.syspath_prepend(BENCH)
    from report import BEGIN, END, replaced

    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replaced(page, "new\n") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    with pytest.raises(ValueError, match="bench:begin"):
        replaced("no marks", "new")
    assert BEGIN in (BENCH.parent / "docs" / "benchmarks.md").read_text()


def arrived(**found):
    """What a run of the table writes as JSON: `pool={form: {row: [what it gave, right]}}`."""
    return {**run_data(), "peers": dict.fromkeys(found, ""), "cases": ["table"], "table": found}


def test_the_table_is_shown_without_any_measurement(tmp_path):
    """A run of the table alone failed in the tables of times."""
    file = tmp_path / "run.json"
    rows = {"a lambda": ["3", True], "a closure": ["NotShareableError: text", False]}
    file.write_text(json.dumps(arrived(interpreters={"guarded": rows})))
    done = bench("--from", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 2" in done.stdout
    assert "Targets" not in done.stdout


def test_a_row_that_subpool_gets_wrong_fails_the_run(tmp_path):
    """Other pools may be wrong as they like; here it is a bug."""
    file = tmp_path / "run.json"
    rows = {"a lambda": ["4", False]}
    file.write_text(json.dumps(arrived(subpool={"-c": rows})))
    done = bench("--from", file)
    assert done.returncode == 1
    assert "subpool, -c: a lambda: 4" in done.stdout


def test_the_tables_cells(monkeypatch):
    """Where one pool hangs and another refuses, a mere "no" says too little."""
    monkeypatch.syspath_prepend(BENCH)
    from compatibility import _cell, markdown

    texts = {
        "hung; it said: x": "hangs",
        "died of SIGSEGV; it said: x": "crashes: SIGSEGV",
        "exit status 1; it said: x": "exit status 1",
        "ValueError: x": "`ValueError`",
        "{'a: b': 1}": "not that",
    }
    assert {text: _cell([text, False]) for text in texts} == texts
    assert _cell(["3", True]) == "yes"
    found = {"threads": {"guarded": {"a lambda": ["hung", False]}, "-c": {}}}
    text = markdown(found, {"threads": "stdlib threads"})
    assert "| a lambda | hangs |" in text
    assert "| stdlib threads | 0 of 1 |" in text
