"""A row of the table of hostile files: how to make one, and what must come of opening it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What an attack would write if it ran, in the folder that the reader works in.
CANARY = "steelyard-canary"
RUNS = f"open('{CANARY}', 'w').write('ran')"


@dataclass(frozen=True)
class Listed:
    """It is listed.

    Args:
        count: Of its weights; any if None.
        codes: Of the findings of a Keras file.
        note: What the note must have in it.
        values: Some of the values, as lists, by address.
        unread: What the error must have in it, if one of its weights must not be read.
    """

    count: int | None = None
    codes: tuple[str, ...] = ()
    note: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    unread: str = ""


@dataclass(frozen=True)
class Refused:
    """It is refused, with an error that has this in it; `limit` if it asks for too much."""

    says: str = ""
    limit: bool = False


# Damage may or may not be seen.
EITHER = None


@dataclass(frozen=True)
class Case:
    """A hostile file.

    Args:
        row: Which attack: a key of `ROWS`.
        format: Which format: one of `FORMATS`.
        name: What is special about it.
        make: Makes it in an empty folder, and says what to open.
        end: What must come of it.
    """

    row: str
    format: str
    name: str
    make: Callable[[Path], Path]
    end: Listed | Refused | None

    @property
    def id(self) -> str:
        return f"{self.row}-{self.format}-{self.name}"


def bait(folder: Path) -> Path:
    """A file outside of the folder of a case, which nobody may open."""
    return folder.parent / "outside" / "secret"


def written(name: str, data: bytes | Callable[[], bytes]) -> Callable[[Path], Path]:
    """Makes a file of these bytes; what is large is given as a function, and made when due."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data() if callable(data) else data)
        return folder / name

    return make
