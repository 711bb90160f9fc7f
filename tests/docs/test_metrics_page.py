"""`docs/metrics.md` is what the catalog says."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import steelyard as sy
from steelyard.records import STATUSES

pytestmark = pytest.mark.no_keras

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = (DOCS / "metrics.md").read_text(encoding="utf-8")
SCRIPT = runpy.run_path(str(DOCS / "make_metrics.py"))


def test_the_page_is_as_made():
    assert SCRIPT["made"](PAGE) == PAGE, "stale. Run: python docs/make_metrics.py"
    assert PAGE.count("<!-- made: ") == len(SCRIPT["BLOCKS"])


def test_a_stale_page_is_made_anew():
    stale = PAGE.replace("### `alpha`\n", "### `beta`\n").replace("| `weak` |", "| `week` |")
    assert stale != PAGE
    assert SCRIPT["made"](stale) == PAGE


def test_check_says_so():
    command = [sys.executable, str(DOCS / "make_metrics.py"), "--check"]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("row", sy.catalog(), ids=lambda row: row.name)
def test_each_metric_has_its_place(row):
    assert PAGE.count(f"\n### `{row.name}`\n") == 1
    assert f"(#{row.name})" in PAGE
    section = PAGE.partition(f"\n### `{row.name}`\n")[2].partition("\n#")[0]
    assert row.description in section
    assert f"Unit `{row.unit}`" in section
    assert row.range in section
    assert row.source in section
    assert ("on demand" in section) == row.on_demand
    assert ("a graph computes it" in section) == row.in_graph


def test_each_status_is_explained():
    for status, means in STATUSES.items():
        assert f"| `{status}` | {means} |" in PAGE
    assert "one of the seven below" in PAGE
    assert len(STATUSES) == 7


def test_each_group_is_explained():
    assert list(SCRIPT["GROUPS"]) == list(dict.fromkeys(row.group for row in sy.catalog()))


def test_what_the_docstring_says_besides_is_there():
    assert "The condition of the exact renormalization group" in PAGE
    assert "Args:" not in PAGE
