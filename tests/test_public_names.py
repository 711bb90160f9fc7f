"""Each public name has one public place. Read from the text: nothing here opens a room."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

import steelyard

pytestmark = pytest.mark.no_keras

SOURCE = Path(__file__).parent.parent / "src" / "steelyard"
PACKAGES = sorted(p.parent.name for p in SOURCE.glob("*/__init__.py"))
MODULES = sorted(p.stem for p in SOURCE.glob("*.py") if p.stem != "__init__")


def tree(room: str) -> ast.Module:
    file = SOURCE / room / "__init__.py" if room in PACKAGES else SOURCE / f"{room}.py"
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def bound(room: str, *, own: bool) -> set[str]:
    """The public names of a room: what it defines, and unless `own` what it imports as well."""
    names: set[str] = set()
    for node in tree(room).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {t.id for t in targets if isinstance(t, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.ImportFrom(module=module, names=aliases, level=level):
                ours = level > 0 or (module or "").startswith("steelyard")
                if ours and not own:
                    names |= {a.asname or a.name for a in aliases}
    return {name for name in names if not name.startswith("_")}


def declared(room: str) -> list[str] | None:
    for node in tree(room).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return None


def in_order(names: list[str]) -> list[str]:
    """Constants, classes, the rest: the order that the linter's RUF022 keeps as well."""
    return sorted(names, key=lambda n: (not n.isupper(), not n[0].isupper(), n))


def test_the_map_and_all_are_the_same():
    mapped = {*steelyard._NAMES, *steelyard._ROOMS, "__version__"}
    assert set(steelyard.__all__) == mapped
    assert len(steelyard.__all__) == len(mapped)


def test_type_checkers_see_the_map():
    file = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    block = next(
        n for n in file.body if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n)
    )
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        module = (node.module or "").removeprefix("steelyard").removeprefix(".")
        seen |= {a.asname or a.name: module for a in node.names}
    assert seen == steelyard._NAMES | dict.fromkeys(steelyard._ROOMS, "")


@pytest.mark.parametrize("name", sorted(steelyard._NAMES))
def test_name_is_where_the_map_says(name):
    room = steelyard._NAMES[name]
    assert room in PACKAGES + MODULES, f"the map sends {name!r} to {room!r}, which does not exist"
    assert name in bound(room, own=room in MODULES)


@pytest.mark.parametrize("room", steelyard._ROOMS)
def test_public_room_exists(room):
    assert room in PACKAGES + MODULES


@pytest.mark.parametrize("room", PACKAGES)
def test_room_declares_what_it_offers(room):
    names = declared(room)
    assert names is not None, f"steelyard/{room}/__init__.py has no __all__"
    assert set(names) == bound(room, own=False)
    assert names == in_order(names)


@pytest.mark.parametrize("module", MODULES)
def test_module_declares_its_names_in_order(module):
    names = declared(module)
    if names is not None:
        assert set(names) <= bound(module, own=True)
        assert names == in_order(names)


def test_no_name_lives_in_two_rooms():
    places = defaultdict(list)
    for room in PACKAGES + MODULES:
        for name in declared(room) or bound(room, own=True):
            places[name].append(room)
    assert {name: rooms for name, rooms in places.items() if len(rooms) > 1} == {}


def test_no_room_has_the_name_of_a_public_function():
    assert not set(PACKAGES + MODULES) & set(steelyard._NAMES)
