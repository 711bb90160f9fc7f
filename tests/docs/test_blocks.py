"""The Python of the pages runs as it stands there, each block on its own, on every backend."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent.parent / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list:
    found = []
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start(1))
            found.append(pytest.param(path, line, block[1], id=f"{path.stem}-line{line + 1}"))
    return found


@pytest.mark.parametrize(("path", "line", "code"), blocks())
def test_block_runs(path, line, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile("\n" * line + code, str(path), "exec"), {"__name__": "page"})


def test_no_page_is_without():
    assert {param.values[0] for param in blocks()} == set(DOCS.glob("*.md")) - {DOCS / "index.md"}
