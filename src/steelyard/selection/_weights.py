"""`Weights`: a selection. `Weight`: a handle on one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from steelyard.address import Pattern, nearest
from steelyard.errors import AmbiguousAddressError, SourceError, UnknownAddressError
from steelyard.records import WeightSpec
from steelyard.selection._conditions import (
    Dtypes,
    Layers,
    Patterns,
    matched,
    on_spec,
    parse,
)
from steelyard.selection._table import count, html_facts, html_table, text_table
from steelyard.selection._tree import html_tree
from steelyard.source import EditableSource, LinkedSource, WeightSource

if TYPE_CHECKING:
    import numpy as np

_SHOWN = 10
# A notebook keeps what it shows; of more weights, a table with its middle cut is enough.
_MOST_IN_A_TREE = 1000


@dataclass(frozen=True, slots=True, repr=False)
class Weight:
    """One weight of a source. What it is was noted when it was listed; its values are read live.

    Args:
        spec: What is known without reading it.
        source: What holds it.
    """

    spec: WeightSpec
    source: WeightSource = field(hash=False)

    @property
    def address(self) -> str:
        """Where it is, such as `"encoder/proj/kernel"`."""
        return self.spec.address

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the effective value."""
        return self.spec.shape

    @property
    def dtype(self) -> str:
        """The dtype of what is stored, such as `"float32"` or `"int8"`."""
        return self.spec.dtype

    @property
    def size(self) -> int:
        """How many parameters it has."""
        return self.spec.size

    @property
    def nbytes(self) -> int:
        """How many bytes it takes as stored."""
        return self.spec.nbytes

    @property
    def trainable(self) -> bool:
        """Whether training moves it."""
        return self.spec.trainable

    @property
    def layer(self) -> str:
        """The class name of the layer that holds it."""
        return self.spec.layer

    def numpy(self) -> np.ndarray:
        """The effective value: what the layer computes with.

        LoRA is merged and codes are scaled back.

        Returns:
            A new array of shape `shape`: float32 for codes and for narrower floats; wider floats,
            and integers that are no codes, as they are.

        Raises:
            QuantizationError: If it is stored as codes and the way back is unknown.
        """
        return self.source.read(self.address)

    def stored(self) -> dict[str, np.ndarray]:
        """The raw arrays, by name: `{"kernel": …}`, with scales or LoRA factors where they are."""
        return self.source.stored(self.address)

    @property
    def variable(self) -> Any:
        """The `keras.Variable`; under LoRA that of the base, for codes that of the codes.

        Raises:
            SourceError: If the weight is not one of a live model.
        """
        return self._editable().variable(self.address)

    def assign(self, value: Any) -> None:
        """Change the weight of a live model so that `numpy()` gives `value` from now on.

        Under LoRA the factors stay as they are and the base moves: it becomes the value minus
        what the factors add.

        Args:
            value: An array or tensor of shape `shape`.

        Raises:
            ShapeMismatchError: If its shape is another.
            QuantizationError: If the weight is stored as codes.
            SourceError: If the weight is not one of a live model.
        """
        self._editable().assign(self.address, value)

    def _editable(self) -> EditableSource:
        if isinstance(self.source, EditableSource):
            return self.source
        raise SourceError(
            f"{self.address!r} is a weight of a {type(self.source).__name__}, which can only be "
            f"read. Load it into a model and change it there."
        )

    def _repr_html_(self) -> str:
        return html_facts(self.spec)

    def __repr__(self) -> str:
        return (
            f"Weight({self.address!r}, shape={self.shape}, dtype={self.dtype!r}, "
            f"trainable={self.trainable}, layer={self.layer!r})"
        )


class Weights:
    """A selection of the weights of a source, in the order of the source. It never changes.

    Args:
        source: What holds the weights.
        specs: Those selected; all of them if not given.
        note: What a reader should know where a weight is missed; ends the messages that say so.
        also: What is not counted, but read if it is asked for by its address: a weight that is
            worked out from another one.
    """

    def __init__(
        self,
        source: WeightSource,
        specs: Iterable[WeightSpec] | None = None,
        note: str = "",
        also: Iterable[WeightSpec] = (),
    ) -> None:
        self._source = source
        self._specs = tuple(source.specs() if specs is None else specs)
        self._note = note
        self._also = tuple(also)

    @property
    def source(self) -> WeightSource:
        """What holds the weights."""
        return self._source

    @property
    def specs(self) -> tuple[WeightSpec, ...]:
        """What is known of each weight without reading it, in order."""
        return self._specs

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses, in order."""
        return tuple(spec.address for spec in self._specs)

    @property
    def size(self) -> int:
        """How many parameters there are in all."""
        return sum(spec.size for spec in self._specs)

    @property
    def nbytes(self) -> int:
        """How many bytes they take as stored."""
        return sum(spec.nbytes for spec in self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def __iter__(self) -> Iterator[Weight]:
        return (Weight(spec, self._source) for spec in self._specs)

    def __contains__(self, item: object) -> bool:
        if isinstance(item, Weight):
            return item.source is self._source and item.address in self._by_address
        return isinstance(item, str) and item in self._by_address

    def __getitem__(self, address: str) -> Weight:
        """The weight at an address, or at another address of the same weight.

        Raises:
            UnknownAddressError: If there is none; names the nearest.
        """
        if not isinstance(address, str) or address not in self._by_address:
            raise UnknownAddressError(self._unknown(address))
        return Weight(self._by_address[address], self._source)

    def one(self) -> Weight:
        """The only weight.

        Raises:
            UnknownAddressError: If there is none.
            AmbiguousAddressError: If there are several; lists them.
        """
        if not self._specs:
            raise UnknownAddressError(self._ended("One weight was asked for; there is none."))
        if len(self._specs) > 1:
            shown = "".join(f"\n  {address!r}" for address in self.addresses[:_SHOWN])
            more = len(self._specs) - _SHOWN
            raise AmbiguousAddressError(
                f"One weight was asked for; there are {len(self._specs):,}:{shown}"
                + (f"\n  and {more:,} more" if more > 0 else "")
                + "\nName one by its address, or select fewer."
            )
        return Weight(self._specs[0], self._source)

    def select(
        self,
        pattern: Patterns = "**",
        *,
        layer: Layers | None = None,
        trainable: bool | None = None,
        dtype: Dtypes | None = None,
        ndim: int | None = None,
        min_size: int | None = None,
        where: Callable[[Weight], bool] | None = None,
        missing_ok: bool = False,
    ) -> Weights:
        """Those of the weights that meet every condition.

        Args:
            pattern: Addresses, as `steelyard.address.Pattern` reads them; or several such, of
                which each must match something. A weight of a shared layer counts under each of
                its addresses.
            layer: A layer class, which takes its subclasses in where the source knows them, or
                the exact name of one; or a tuple of these.
            trainable: Whether training moves them.
            dtype: The dtype stored, or a tuple of several.
            ndim: The number of axes.
            min_size: The least number of parameters.
            where: A function of a `Weight`; asked last.
            missing_ok: Give an empty selection rather than an error when nothing is left.

        Raises:
            PatternError: If a pattern cannot be read.
            UnknownAddressError: If nothing is left; says what came nearest.
        """
        patterns = parse(pattern)
        specs = self._matching(patterns, missing_ok)
        conditions = on_spec(
            layer=layer,
            trainable=trainable,
            dtype=dtype,
            ndim=ndim,
            min_size=min_size,
            where=None if where is None else self._asked(where),
        )
        story = matched(len(specs), patterns)
        for condition in conditions:
            left = tuple(spec for spec in specs if condition.holds(spec))
            if specs and not left and not missing_ok:
                raise UnknownAddressError(f"{story}, none of them has {condition.missed(specs)}.")
            if len(left) < len(specs):
                story += f", {len(left):,} of them with {condition.text}"
            specs = left
        return Weights(self._source, specs, self._note)

    def __repr__(self) -> str:
        return text_table(self._specs, self._note)

    def _repr_html_(self) -> str:
        """For a notebook: of a live model a tree, of anything else a table."""
        if isinstance(self._source, LinkedSource) and len(self._specs) <= _MOST_IN_A_TREE:
            return html_tree(self._specs, self._source.links(), self._note)
        return html_table(self._specs, self._note)

    @cached_property
    def _by_address(self) -> dict[str, WeightSpec]:
        known = {spec.address: spec for spec in (*self._specs, *self._also)}
        for spec in self._specs:
            for alias in spec.aliases:
                known.setdefault(alias, spec)
        return known

    def _matching(self, patterns: Sequence[Pattern], missing_ok: bool) -> tuple[WeightSpec, ...]:
        hit = [False] * len(patterns)
        specs = []
        for spec in self._specs:
            addresses = (spec.address, *spec.aliases)
            fits = [any(map(pattern.matches, addresses)) for pattern in patterns]
            hit = [a or b for a, b in zip(hit, fits, strict=True)]
            if any(fits):
                specs.append(spec)
        for index in (i for i, found in enumerate(hit) if not found):
            named = [spec for spec in self._also if patterns[index].matches(spec.address)]
            hit[index] = bool(named)
            specs += named
        if not all(hit) and not missing_ok:
            missed = patterns[hit.index(False)]
            near = self._suggest(missed.without_wildcards())
            raise UnknownAddressError(
                self._ended(f"No weight matches the pattern {missed.text!r}. {near}")
            )
        return tuple(specs)

    def _asked(self, where: Callable[[Weight], bool]) -> Callable[[WeightSpec], bool]:
        return lambda spec: bool(where(Weight(spec, self._source)))

    def _unknown(self, address: object) -> str:
        if not isinstance(address, str):
            return (
                f"A weight is asked for by its address, a string such as "
                f"{(*self.addresses, 'proj/kernel')[0]!r}. "
                f"Received: {address!r} (of type {type(address).__name__})"
            )
        below = [known for known in self._by_address if known.startswith(f"{address}/")]
        if below:
            return self._ended(
                f"{address!r} is no weight, it holds {count(len(below), 'weight')}: "
                f"{_some(below)}. For all of them: .select({address + '/**'!r})."
            )
        return self._ended(f"No weight has the address {address!r}. {self._suggest(address)}")

    def _suggest(self, name: str) -> str:
        if not self._specs:
            return "The selection is empty."
        near = nearest(name, self._by_address)
        if near:
            return f"Did you mean {' or '.join(map(repr, near))}?"
        return f"There {'is' if len(self) == 1 else 'are'} {_some(self.addresses)}."

    def _ended(self, message: str) -> str:
        return f"{message} {self._note}".rstrip()


def _some(addresses: Sequence[str]) -> str:
    shown = ", ".join(map(repr, addresses[:3]))
    return f"{shown} and {len(addresses) - 3:,} more" if len(addresses) > 3 else shown
