"""The list of tools/mutants.py stays true without a run of it."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "src" / "core"


@pytest.fixture
def mutants(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    from mutant_rows import MUTANTS

    yield MUTANTS
    del sys.modules["mutant_rows"]


def test_every_model_can_fail(mutants):
    """A third of them, the newest, were in no row."""
    files = [*CORE.glob("models*.rs"), *CORE.glob("**/models/*.rs"), *CORE.glob("*/models.rs")]
    models = {
        name for file in files for name in re.findall(r"#\[test\]\s+fn (\w+)", file.read_text())
    }
    assert len(models) > 30
    assert models == {model for mutant in mutants for model in mutant.models}


def test_what_is_changed_is_there(mutants):
    """Two rows had lost their text, so the whole command failed."""
    counts = {mutant.what: (CORE / mutant.file).read_text().count(mutant.old) for mutant in mutants}
    assert set(counts.values()) == {1}, counts
