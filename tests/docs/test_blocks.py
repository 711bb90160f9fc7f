"""The Python of the pages runs as it stands there, each block on its own, on every backend.

The gallery trains for its pictures: each of its blocks runs on one backend of a run on all three.
"""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent.parent / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


GALLERY = DOCS / "gallery.md"
# Its Python is the README's.
START = DOCS / "index.md"
PAGES = sorted({*DOCS.glob("*.md")} - {GALLERY, START})


def blocks(*pages: Path) -> list:
    found = []
    for path in pages:
        text = path.read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start(1))
            found.append(pytest.param(path, line, block[1], id=f"{path.stem}-line{line + 1}"))
    return found


def run(path, line, code, folder, monkeypatch):
    monkeypatch.chdir(folder)
    exec(compile("\n" * line + code, str(path), "exec"), {"__name__": "page"})


@pytest.mark.parametrize(("path", "line", "code"), blocks(*PAGES))
def test_block_runs(path, line, code, tmp_path, monkeypatch):
    run(path, line, code, tmp_path, monkeypatch)


@pytest.mark.in_turn
@pytest.mark.parametrize(("path", "line", "code"), blocks(GALLERY))
def test_block_of_the_gallery_runs(path, line, code, tmp_path, monkeypatch):
    run(path, line, code, tmp_path, monkeypatch)


def test_no_page_is_without():
    assert {param.values[0] for param in blocks(*PAGES, GALLERY)} == {*PAGES, GALLERY}
