"""`docs/scan.md` is what the rules of the scan say."""

import runpy
from pathlib import Path

import pytest

from steelyard.records import SEVERITIES
from steelyard.scanning import RULES

pytestmark = pytest.mark.no_keras

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = (DOCS / "scan.md").read_text(encoding="utf-8")
SCRIPT = runpy.run_path(str(DOCS / "make_scan.py"))


def test_the_page_is_as_made():
    assert SCRIPT["made"](PAGE) == PAGE, "stale. Run: python docs/make_scan.py"
    assert PAGE.count("<!-- made: ") == len(SCRIPT["BLOCKS"])


def test_a_stale_page_is_made_anew():
    stale = PAGE.replace("| `limit` |", "| `limits` |").replace("| `note` |", "| `notes` |")
    assert stale != PAGE
    assert SCRIPT["made"](stale) == PAGE


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.code)
def test_each_rule_has_its_row(rule):
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{rule.code}` |")]
    for said in (rule.severity, rule.what, rule.fix, *rule.references):
        assert said in row


def test_each_severity_and_group_is_explained():
    for severity, means in SEVERITIES.items():
        assert f"| `{severity}` | {means} |" in PAGE
    assert list(SCRIPT["GROUPS"]) == list(dict.fromkeys(rule.group for rule in RULES.values()))
