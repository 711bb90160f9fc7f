"""The picture of ARCHITECTURE.md as a table, held against the imports of every file."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.no_keras

SOURCE = Path(__file__).parent.parent / "src" / "steelyard"
WORDS = ("errors", "urls", "address", "records", "source", "selection", "readings")


class Room(NamedTuple):
    """What a room may import: at the top of its files, and what only inside a function."""

    step: int
    top: tuple[str, ...]
    late: tuple[str, ...] = ()


# A room that does not exist yet keeps its row: the row is the plan.
ROOMS = {
    # Step 0 is the only step whose rooms know each other: each word knows those before it.
    **{word: Room(0, WORDS[:i]) for i, word in enumerate(WORDS)},
    "metrics": Room(1, ("errors", "records")),
    "checkpoints": Room(1, WORDS),
    "live": Room(1, (*WORDS, "keras")),
    "plan": Room(2, (*WORDS, "metrics")),
    "compare": Room(2, (*WORDS, "metrics")),
    "refs": Room(2, (*WORDS, "live", "keras")),
    "parametrizations": Room(2, ("errors", "live", "keras")),
    "opening": Room(2, WORDS, late=("live", "checkpoints")),
    "measuring": Room(3, (*WORDS, "metrics", "plan", "opening")),
    "converting": Room(3, (*WORDS, "opening"), late=("checkpoints",)),
    "diffing": Room(3, (*WORDS, "compare", "opening")),
    "rewrite": Room(3, (*WORDS, "live", "checkpoints", "opening")),
    "layers": Room(3, (*WORDS, "live", "refs", "metrics", "keras")),
    "substitutes": Room(3, (*WORDS, "live", "refs", "parametrizations", "keras")),
    "findings": Room(3, (*WORDS, "live", "refs", "keras")),
    "saving": Room(3, (*WORDS, "live", "refs", "keras")),
    "monitor": Room(3, (*WORDS, "live", "metrics", "plan", "keras")),
    "scanning": Room(3, (*WORDS, "checkpoints")),
    "report": Room(3, WORDS),
    # A command opens what it needs when it runs, so that `--help` stays quick.
    "cli": Room(
        4,
        ("errors",),
        late=(
            *(w for w in WORDS if w != "errors"),
            *("metrics", "checkpoints", "live", "plan", "compare", "refs", "opening"),
            *("measuring", "converting", "diffing", "rewrite"),
            *("layers", "parametrizations", "substitutes", "findings", "saving"),
            *("scanning", "monitor", "report", "steelyard", "keras"),
        ),
    ),
    "symbolic": Room(4, ("errors", "live", "refs", "layers", "keras")),
    # It opens the layers by name, when Keras is there.
    "registration": Room(4, ()),
    # The map: what it opens, it opens by name.
    "__init__": Room(5, ("registration",)),
}

BACKENDS = {"tensorflow", "jax", "torch"}
HEAVY = {"keras", "jaxlib", "tf_keras"} | BACKENDS

# The one file that may touch what Keras keeps to itself: a new Keras means one file to read.
BORDER = "live/_keras.py"
PRIVATE = {
    "_keras_history",
    "_inbound_nodes",
    "_outbound_nodes",
    "_flatten_layers",
    "_layers",
    "_tracker",
    "current_call_ctx",
}


class Import(NamedTuple):
    """One import statement, as far as the rooms are concerned."""

    line: int
    room: str
    late: bool


def room_of(path: str) -> str:
    """The room that holds a file, given as a path under `src/steelyard`."""
    return path.split("/")[0].removesuffix(".py")


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _modules(node: ast.Import | ast.ImportFrom, path: str) -> Iterator[str]:
    """The absolute dotted names that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    if node.level == 0:
        base = node.module or ""
    else:
        package = ["steelyard", *path.split("/")[:-1]]
        parents = package[: len(package) - node.level + 1]
        base = ".".join([*parents, *([node.module] if node.module else [])])
    # `from steelyard import refs` names a room by what it takes.
    yield from (f"{base}.{alias.name}" for alias in node.names)


def imports(path: str, text: str) -> Iterator[Import]:
    """Every import of a file that leaves its room; those under TYPE_CHECKING only in the map."""

    def walk(node: ast.AST, late: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if _is_type_checking(child) and path == "__init__.py":
                continue
            if isinstance(child, ast.Import | ast.ImportFrom):
                for name in _modules(child, path):
                    first, _, rest = name.partition(".")
                    if first in HEAVY:
                        yield Import(child.lineno, first, late)
                    elif first == "steelyard":
                        inner = rest.split(".")[0]
                        known = inner in ROOMS or (SOURCE / inner).is_dir()
                        known = known or (SOURCE / f"{inner}.py").is_file()
                        yield Import(child.lineno, inner if inner and known else "steelyard", late)
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, late or function)

    return walk(ast.parse(text), late=False)


def _private_names(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name):
                found = name in PRIVATE
            case ast.alias(name=name):
                found = name in PRIVATE
            case ast.Constant(value=str(name)):
                found = name in PRIVATE or name.startswith("keras.src")
            case _:
                continue
        if found:
            yield node.lineno, name
        if isinstance(node, ast.alias | ast.Attribute) and "keras.src" in ast.unparse(node):
            yield node.lineno, "keras.src"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras.src"):
            yield node.lineno, "keras.src"


def violations(path: str, text: str) -> list[str]:
    """Everything in one file that the table forbids, one sentence each."""
    where = f"src/steelyard/{path}"
    room = room_of(path)
    if room not in ROOMS:
        return [f"{where}: the room {room!r} is not in the table of tests/test_rooms.py"]
    rules = ROOMS[room]
    found = []
    for line, name, late in imports(path, text):
        # Which backend runs is known when a function runs, and only where Keras is.
        backend = name in BACKENDS and "keras" in rules.top
        if name == room or name in rules.top or (late and (backend or name in rules.late)):
            continue
        may = ", ".join(rules.top) or "nothing"
        inside = f"; inside a function also {', '.join(rules.late)}" if rules.late else ""
        found.append(
            f"{where}:{line}: {room} (step {rules.step}) imports {name}; "
            f"it may import {may}{inside}"
        )
    if path != BORDER:
        found += [
            f"{where}:{line}: uses {name}, which Keras keeps to itself; only {BORDER} may"
            for line, name in sorted(set(_private_names(text)))
        ]
    return found


FILES = sorted(p.relative_to(SOURCE).as_posix() for p in SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES)
def test_file_keeps_to_its_room(path):
    assert not (found := violations(path, (SOURCE / path).read_text(encoding="utf-8"))), "\n".join(
        found
    )


def test_imports_go_down_the_steps():
    for name, room in ROOMS.items():
        for other in set(room.top + room.late) & ROOMS.keys():
            below = ROOMS[other].step < room.step
            earlier_word = room.step == 0 and WORDS.index(other) < WORDS.index(name)
            assert below or earlier_word, f"{name} may not know its neighbor {other}"


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("address.py", "import keras", "address (step 0) imports keras; it may import errors"),
        ("errors.py", "from .address import Address", "imports address; it may import nothing"),
        ("metrics/_rank.py", "from ..live import x", "metrics (step 1) imports live"),
        ("metrics/_rank.py", "from .. import live", "metrics (step 1) imports live"),
        ("metrics/_rank.py", "def f():\n    import steelyard.refs", "_rank.py:2: metrics"),
        ("refs/_ref.py", "import steelyard", "refs (step 2) imports steelyard"),
        ("refs/_ref.py", "import jax.numpy", "refs (step 2) imports jax"),
        ("metrics/_rank.py", "def f():\n    import jax", "metrics (step 1) imports jax"),
        ("opening.py", "from steelyard.live import x", "opening (step 2) imports live"),
        ("__init__.py", "from steelyard.errors import E", "__init__ (step 5) imports errors"),
        ("helpers.py", "", "'helpers' is not in the table"),
        ("refs/_ref.py", "x._keras_history", "uses _keras_history"),
        ("refs/_ref.py", "getattr(x, '_flatten_layers')()", "uses _flatten_layers"),
        ("live/_walk.py", "from keras.src import tree", "uses keras.src"),
        ("live/_walk.py", "import keras\nkeras.src.tree", "uses keras.src"),
    ],
)
def test_a_violation_is_caught(path, text, says):
    assert says in "\n".join(violations(path, text))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("address.py", "from steelyard.errors import PatternError\nimport re"),
        (
            "metrics/_rank.py",
            "from ._spectrum import Spectrum\nfrom ..errors import SteelyardError",
        ),
        ("opening.py", "def weights(x):\n    from steelyard.live import source"),
        ("refs/_ref.py", "def f():\n    import jax"),
        ("live/_keras.py", "from keras.src import tree\nx._keras_history"),
        ("__init__.py", "if TYPE_CHECKING:\n    from steelyard.refs import ref"),
    ],
)
def test_what_is_allowed_passes(path, text):
    assert violations(path, text) == []
