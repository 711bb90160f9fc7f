"""Each code has a page; its failing code gives that code, and its mended code gives nothing."""

import re
from pathlib import Path

import keras
import pytest

import steelyard as sy
from steelyard.findings import CHECKS

PAGES = Path(__file__).parent.parent.parent / "docs" / "audit"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# A model that a file cannot keep whole cannot be cloned whole either, whatever is wrong with it.
ALONG = {"sharing-lost-on-load": {"sharing-lost-on-clone"}}


def blocks(code):
    text = (PAGES / f"{code}.md").read_text(encoding="utf-8")
    return [(text.count("\n", 0, m.start(1)), m.group(1)) for m in BLOCK.finditer(text)]


def run(code, block):
    line, text = block
    scope = {"__name__": "page"}
    exec(compile("\n" * line + text, str(PAGES / f"{code}.md"), "exec"), scope)
    return sy.audit(scope["model"])


@pytest.mark.parametrize("code", sorted(CHECKS))
def test_a_page_has_two_blocks(code):
    assert len(blocks(code)) == 2
    assert (PAGES / f"{code}.md").read_text(encoding="utf-8").startswith(f"# `{code}`\n")


@pytest.mark.parametrize("code", sorted(CHECKS))
def test_the_failing_code_gives_the_code(code, capsys):
    if code == "adopted-layer" and keras.version() < "3.15":
        pytest.skip("Keras 3.13 does not track a layer that a functional model is given later")
    findings = run(code, blocks(code)[0])
    assert {finding.code for finding in findings} == {code} | ALONG.get(code, set())
    printed = capsys.readouterr().out
    for told in re.findall(r"sep=\"\\n\"\)  # (.*)$", blocks(code)[0][1], re.MULTILINE):
        assert [f.address for f in findings] == told.split(", ")
        assert all(str(finding) in printed for finding in findings)


@pytest.mark.parametrize("code", sorted(CHECKS))
def test_the_mended_code_gives_nothing(code):
    assert run(code, blocks(code)[1]) == []


def test_the_index_lists_every_page():
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[`(.*?)`\]\(", index, re.MULTILINE) == sorted(CHECKS)
    assert {path.stem for path in PAGES.glob("*.md")} == {*CHECKS, "README"}
