"""Each rule has a file that triggers it, and says what, where and what to do."""

import pytest
from tests.scanning.made import FILES

from steelyard.records import SEVERITIES
from steelyard.scanning import RULES, scan

pytestmark = [pytest.mark.no_keras, pytest.mark.filterwarnings("ignore:Duplicate name")]

# What else is in a file, since the one thing brings it along.
ALONG = {
    "zip-duplicate": {"lambda-bytecode"},
    "zip-encrypted": {"unknown-kind"},
    "zip-hidden": {"lambda-bytecode", "pickle-trailing"},
    "zip-bomb": {"unknown-kind", "unreadable"},
    "zip-overlap": {"zip-mismatch", "zip-hidden"},
    "zip-mismatch": {"unreadable"},
}


def test_each_rule_has_its_file():
    assert set(FILES) == set(RULES)


@pytest.mark.parametrize("code", RULES)
def test_the_rule_finds_it(code, tmp_path):
    found = scan(FILES[code](tmp_path / "file"))
    codes = {risk.code for risk in found.risks}
    assert code in codes
    assert codes <= {code} | ALONG.get(code, set())
    risk = next(risk for risk in found.risks if risk.code == code)
    rule = RULES[code]
    assert (risk.severity, risk.fix, risk.references) == (rule.severity, rule.fix, rule.references)
    worst = found.in_order[0].severity
    status = {"danger": "found", "caution": "found", "unread": "unread", "note": "clean"}[worst]
    assert found.status == status
    assert risk.message.endswith(".") and risk.message[0] == risk.message[0].upper()


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.code)
def test_a_rule_is_whole(rule):
    assert rule.severity in SEVERITIES
    assert rule.what.endswith(".") and rule.fix.endswith(".")
    assert all(one.startswith("CVE-") for one in rule.references)
