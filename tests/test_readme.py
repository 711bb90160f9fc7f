"""The README's Python runs as it stands there, each block on its own, on every backend."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list:
    text = README.read_text(encoding="utf-8")
    lines = [(text.count("\n", 0, m.start(1)), m.group(1)) for m in BLOCK.finditer(text)]
    return [pytest.param(line, code, id=f"line{line + 1}") for line, code in lines]


@pytest.mark.parametrize(("line", "code"), blocks())
def test_block_runs(line, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The empty lines make a traceback point into README.md.
    exec(compile("\n" * line + code, str(README), "exec"), {"__name__": "readme"})


def test_there_are_blocks():
    assert len(blocks()) >= 3
