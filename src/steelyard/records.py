"""The frozen things that travel from one room to another."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from steelyard.errors import SteelyardError


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """What is known of a weight without reading it.

    Args:
        address: Where it is: `"encoder/proj/kernel"`.
        shape: The shape of its effective value: a kernel packed as int4 shows the shape that the
            layer computes with.
        dtype: The dtype of what is stored, such as `"float32"`, `"bfloat16"` or `"int8"`.
        trainable: Whether training moves it.
        layer: The class name of the layer that holds it.
        layer_bases: That class and its bases as dotted names, where the source knows them.
        aliases: Other addresses that lead to it, because a layer that is shared has several.
        stored_shape: The shape of what is stored, where it differs from `shape`.
        axes: What each axis of `shape` is to the layer, a letter each: `"i"` of the inputs, `"o"`
            of the outputs, `"b"` one block after another, `"k"` a position in a kernel; `"kkio"` is
            the kernel of a Conv2D.
            Empty where the source does not know.
    """

    address: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool
    layer: str
    layer_bases: tuple[str, ...] = field(default=(), repr=False)
    aliases: tuple[str, ...] = field(default=(), repr=False)
    stored_shape: tuple[int, ...] | None = field(default=None, repr=False)
    axes: str = field(default="", repr=False)

    @property
    def size(self) -> int:
        """How many parameters it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes it takes as stored; scales of codes are weights of their own."""
        shape = self.shape if self.stored_shape is None else self.stored_shape
        return (math.prod(shape) * _bits(self.dtype) + 7) // 8


def _bits(dtype: str) -> int:
    """The width of one element; the first number in a dtype's name says it (`float8_e4m3fn`)."""
    width = re.search(r"\d+", dtype)
    return int(width[0]) if width else 8  # "bool"


@dataclass(frozen=True, slots=True)
class Borrowing:
    """Who borrows which weight from whom.

    Args:
        holder: The address of the layer that borrows.
        target: The address of the weight that it borrows.
        is_bound: Whether the reference has found its weight.
        reason: Why not; empty where it has.
    """

    holder: str
    target: str
    is_bound: bool
    reason: str = ""

    def __str__(self) -> str:
        state = "bound" if self.is_bound else f"not bound: {self.reason or 'nobody looked yet'}"
        return f"{self.holder} borrows {self.target} ({state})"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a model that will go wrong without a word.

    Args:
        code: What goes wrong, in one or a few words that stay the same: `"untracked-layer"`. Each
            has a page of that name in the documentation, under `audit/`.
        address: Where: of a weight, of a layer, or of what a layer holds; "" is the model itself.
        message: What is there, and what will happen, in one sentence.
        fix: What to do about it, in one sentence.
        step: After how many batches of training it was seen; None where nothing was trained.
    """

    code: str
    address: str
    message: str
    fix: str
    step: int | None = None

    def __str__(self) -> str:
        place = self.address or "(the model)"
        when = "" if self.step is None else f" at step {self.step:,}"
        return f"{self.code}  {place}{when}: {self.message} Fix: {self.fix}"


SEVERITIES = {
    "danger": "loading the file by the usual means runs code, or reads or writes outside of it",
    "caution": "an honest file does not have it, or one tool may read it otherwise than another",
    "unread": "a part that was not read, so that nothing is known of it",
    "note": "no danger by itself, but worth knowing before loading",
}


@dataclass(frozen=True, slots=True)
class Risk:
    """Something in a file that could run code or reach out of it, or a part that was not read.

    Args:
        code: What it is, in one or a few words that stay the same: `"lambda-bytecode"`.
        severity: One of `SEVERITIES`, which says what each means.
        file: Of a folder, which file, relative to it; else the file as it was given.
        place: Where in the file: a member, a path in JSON or HDF5, an offset; "" is all of it.
        message: What is there, in one sentence.
        fix: What to do about it, in one sentence.
        references: Published weaknesses of this kind.
        count: How often it is there; `place` is the first of them.
    """

    code: str
    severity: str
    file: str
    place: str
    message: str
    fix: str
    references: tuple[str, ...] = ()
    count: int = 1

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            known = ", ".join(map(repr, SEVERITIES))
            raise SteelyardError(f"A risk's severity is one of {known}. Got: {self.severity!r}")

    def __str__(self) -> str:
        where = f"{self.file}: {self.place}" if self.place else self.file
        more = f" ({self.count:,} times)" if self.count > 1 else ""
        return f"{self.severity} {self.code}  {where}: {self.message}{more} Fix: {self.fix}"


STATUSES = {
    "ok": "the number is what its metric says",
    "weak": "there is a number, and by itself it says little or nothing; the reason says why",
    "undefined": "the metric has no value here, such as the stable rank of zeros",
    "not applicable": "the metric asks for what this weight is not, such as a matrix",
    "not finite": "the weight has entries that are NaN or infinite, of which no such number exists",
    "too large": "it would take more memory than was allowed",
    "failed": "the weight could not be read, or the computation broke off; the reason says how",
}

Value = float | str | tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Reading:
    """One number about one weight.

    Args:
        address: Of the weight.
        metric: The name of the metric in the catalog.
        value: The number; for the few metrics that give several, such as all singular values, a
            tuple of them; for the one that gives a choice, its name; None where there is none.
        unit: Of the value; `"1"` for a pure number, `"w"` for that of the weight's entries.
        status: One of `STATUSES`, which says what each means.
        reason: Why the status is not `"ok"`; empty where it is.
        bound: A certified bound of the error: the true value is at most this far away. None where
            the number is exact to rounding.
    """

    address: str
    metric: str
    value: Value
    unit: str = "1"
    status: str = "ok"
    reason: str = ""
    bound: float | None = None

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            known = ", ".join(map(repr, STATUSES))
            raise SteelyardError(f"A reading's status is one of {known}. Got: {self.status!r}")

    def __float__(self) -> float:
        if isinstance(self.value, str | tuple):
            raise SteelyardError(f"{self.metric} of {self.address!r} is no single number.")
        return math.nan if self.value is None else float(self.value)

    def __str__(self) -> str:
        said = f" ({self.status}: {self.reason})" if self.status != "ok" else ""
        return f"{self.address} {self.metric} = {self.value}{said}"


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the catalog: what a number means, and where its definition comes from.

    Args:
        name: As `sy.measure` and `sy.metrics` know it.
        group: Which it can be asked for together with: `"health"`, `"values"`, `"norms"`,
            `"spectral"`, `"powerlaw"`, `"bulk"`, `"random"`, `"comparison"` or `"training"`.
        unit: `"1"` for a pure number, `"w"` for the unit of the weight's entries.
        range: What values there are, in interval notation.
        needs: What it is worked out from: `"values"`, `"units"`, `"matrix"`, `"largest"` singular
            value, `"spectrum"`, `"pair"`, `"gradient"`.
        source: The paper or library that defines it.
        description: What it says, in one sentence.
        in_graph: Whether tensors of a graph give it too, differentiably.
        on_demand: Whether it costs much more than its group, and is only given by name.
    """

    name: str
    group: str
    unit: str
    range: str
    needs: str
    source: str
    description: str
    in_graph: bool = False
    on_demand: bool = False


CHANGE_KINDS = {
    "copied": "the target has the source's value now",
    "reshaped": "both have it, in different shapes; where it was copied, it was carried over",
    "skipped": "both have it, and the target kept its own; the reason says why",
    "missing": "the target has it and the source lacks it; the target kept its own",
    "unused": "the source has it and the target has no place for it",
    "merged": "a part of another weight, such as a LoRA factor, whose value arrived with that one",
    "unchanged": "the same value in both, or one and the same weight",
    "added": "only the second of two sources has it",
    "removed": "only the first of two sources has it",
    "renamed": "both have its value, at different addresses",
    "changed": "both have it, with different values; the amount says by how much",
    "failed": "it could not be read, so whether it differs is open; the reason says why",
}


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one weight between a source and a target, or how two sources differ in it.

    Of two sources that are compared, the first stands in the source's place, the second in the
    target's.

    Args:
        address: Where it is in the target; where it would be, if the target has no such weight.
        kind: One of `CHANGE_KINDS`, which says what each means.
        source: Where it is in the source; None if it is not there.
        reason: Why, or how; empty where there is nothing to add.
        shape: Its shape in the target; None if it is not there.
        source_shape: Its shape in the source; None if it is not there.
        dtype: The dtype in which the target stores it.
        source_dtype: The dtype in which the source stores it.
        amount: By how much the values differ: the norm of the difference over that of the source's
            value; None where nobody compared them. Infinite if the source is 0, or if an entry is
            NaN or infinite in one and not the same in the other.
        numbers: What else was measured of a difference, each with the name of its metric.
    """

    address: str
    kind: str
    source: str | None = None
    reason: str = ""
    shape: tuple[int, ...] | None = None
    source_shape: tuple[int, ...] | None = None
    dtype: str | None = None
    source_dtype: str | None = None
    amount: float | None = None
    numbers: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in CHANGE_KINDS:
            kinds = ", ".join(map(repr, CHANGE_KINDS))
            raise SteelyardError(f"A change is one of {kinds}. Received: {self.kind!r}")

    def __str__(self) -> str:
        origin = "" if self.source in (None, self.address) else f" (from {self.source})"
        return f"{self.kind} {self.address}{origin}{self.reason and f': {self.reason}'}"
