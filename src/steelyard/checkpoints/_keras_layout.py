"""What a Keras file has besides its values: with both of them it can be written again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from steelyard.checkpoints._legacy_names import is_legacy
from steelyard.errors import CheckpointError

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
# Where a model keeps the state of its optimizer; no layer can be there.
_OPTIMIZER = ("optimizer", "_optimizer")

Pieces = Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Layout:
    """The groups of a Keras file, and what is beside its weights.

    Args:
        groups: The path of each group, and the name that Keras wrote there; None without one.
        files: What a `.keras` has beside the weights, `config.json` among it: each by the piece.
        why_not: Why it cannot be written again without a loss; empty if it can.
    """

    groups: Mapping[str, str | None]
    files: Mapping[str, Pieces] = field(default_factory=dict)
    why_not: str = ""

    def without_optimizer(self) -> Layout:
        """The same, where the groups of the optimizer are not there."""
        kept = {path: name for path, name in self.groups.items() if not is_optimizer(path)}
        return replace(self, groups=kept)


def is_optimizer(path: str) -> bool:
    """Whether a path of a Keras file is that of an optimizer's state."""
    return path.split("/")[0] in _OPTIMIZER


def check_whole(layout: Layout, where: str) -> None:
    """Makes sure that nothing of a file would be lost in another one.

    Raises:
        CheckpointError: Something would; says what.
    """
    if layout.why_not:
        raise CheckpointError(f"{where}: cannot be written as a Keras file: {layout.why_not}")


def layout_of(
    listings: Sequence[dict[str, Any]],
    odd: Sequence[tuple[str, str, str]],
    files: Mapping[str, Pieces],
    lost: str = "",
) -> Layout:
    """The layout of what has been listed.

    Args:
        listings: Of the file, or of each of its shards.
        odd: What is odd: a code, a place and a message of each.
        files: What a `.keras` has beside the weights.
        lost: What else there is, which is not read, as a clause; empty if nothing.
    """
    groups: dict[str, str | None] = {}
    for listing in listings:
        for path, told in listing["groups"].items():
            groups[path] = told.get("name", groups.get(path))
    return Layout(groups, files, lost or _lost(listings, odd))


def _lost(listings: Sequence[dict[str, Any]], odd: Sequence[tuple[str, str, str]]) -> str:
    """What a file written from these would lack, as a clause; empty if nothing."""
    if any(map(is_legacy, listings)):
        return (
            "it is a legacy .h5, whose groups are not those of the newer files. Load it with "
            "keras.models.load_model, and save the model"
        )
    if odd:
        _, place, message = odd[0]
        return f"{place!r:.100}: {message}"
    for listing in listings:
        rows = [(row["path"], row.get("others")) for row in listing["tensors"]]
        rows += [(path, told.get("others")) for path, told in listing["groups"].items()]
        if marked := [path for path, others in rows if others]:
            return f"{marked[0]!r:.100} has attributes that Keras does not write"
    return ""
