"""Every page has its place on the site and every public name its place in the reference.

Read from the text; `make docs` builds the site.
"""

import ast
import re
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest

import steelyard

pytestmark = pytest.mark.no_keras

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
INDEX = "docs/index"
ROOMS = steelyard._ROOMS
TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INCLUDE = re.compile(r"^```\{include\} (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^(?!:)(?:.* <)?([^<>\n]+?)>?$", re.MULTILINE)
PLACED = re.compile(r"^\.\. auto(?:function|class|module):: steelyard\.(\w+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^```python\n.*?^```\s*!\[[^\]]+\]\(\S+/(\w+)\.svg\)", re.MULTILINE | re.DOTALL)


def set_in(script: str, name: str):
    """What a script of docs/ sets a name to, without running it."""
    for node in ast.parse((DOCS / script).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return node.value
    raise AssertionError(f"{script} sets no {name}")


def pages() -> set[str]:
    """Everything that the site takes in, as `docs/metrics`."""
    found = {path for pattern in ("*.md", "decisions/*.md") for path in ROOT.glob(pattern)}
    return {
        path.relative_to(ROOT).with_suffix("").as_posix() for path in [*found, *DOCS.rglob("*.md")]
    }


def listed(page: str, entry: str) -> set[str]:
    """The pages that an entry of a table of contents, which stands in `page`, brings in."""
    folder = PurePosixPath(page).parent
    while entry.startswith("../"):
        folder, entry = folder.parent, entry[3:]
    wanted = (folder / entry).as_posix()
    same_depth = {name for name in pages() if name.count("/") == wanted.count("/")}
    return {name for name in same_depth - {page} if fnmatch(name, wanted)}


def contents() -> list[tuple[str, set[str]]]:
    """Every entry of the tables of contents, and what it brings in."""
    below = ast.literal_eval(set_in("conf.py", "BELOW"))
    text = (ROOT / f"{INDEX}.md").read_text(encoding="utf-8")
    entries = [(INDEX, e) for block in TOCTREE.findall(text) for e in ENTRY.findall(block)]
    return [(entry, listed(page, entry)) for page, entry in [*entries, *below.items()]]


def test_every_page_is_in_the_table_of_contents():
    assert pages() - {INDEX} == {page for _, found in contents() for page in found}


def test_every_entry_leads_somewhere():
    assert [entry for entry, found in contents() if not found] == []


@pytest.mark.parametrize("new", ["docs/monitor", "docs/audit/new-code", "decisions/9999-new"])
def test_a_new_page_is_taken_in(new, monkeypatch):
    known = pages()
    monkeypatch.setitem(globals(), "pages", lambda: known | {new})
    assert new in {page for _, found in contents() for page in found}


def test_every_public_name_is_in_the_reference():
    texts = [path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md")]
    placed = [name for text in texts for name in PLACED.findall(text)]
    # The root of the errors stands in its room, above the others.
    assert sorted(placed) == sorted({*steelyard.__all__} - {"SteelyardError", "__version__"})


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_there_with_all_of_its_names(room):
    text = (DOCS / "reference" / f"{room}.md").read_text(encoding="utf-8")
    assert f".. automodule:: steelyard.{room}\n   :members:\n" in text
    assert "exclude-members" not in text


def test_what_is_included_is_there():
    found = INCLUDE.findall((ROOT / f"{INDEX}.md").read_text(encoding="utf-8"))
    assert len(found) == 2
    for path, options in found:
        text = (DOCS / path).read_text(encoding="utf-8")
        start, end = re.findall(r'"(.+)"$', options, re.MULTILINE)
        assert end in text.partition(start)[2], (path, start, end)


def test_each_block_of_the_gallery_is_drawn():
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    drawn = set_in("make_pictures.py", "DRAWN")
    assert isinstance(drawn, ast.Dict)
    assert SHOWN.findall(text) == [ast.literal_eval(key) for key in drawn.keys if key]
    assert text.count("```python\n") == len(drawn.keys)


def test_links_between_pages_lead_somewhere():
    for page in pages():
        path = ROOT / f"{page}.md"
        prose = FENCED.sub("", path.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", prose):
            there = (path.parent / target).exists() or ".build/pictures/" in target
            assert there, (page, target)
