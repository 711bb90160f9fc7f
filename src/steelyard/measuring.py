"""`measure`: numbers about the weights of whatever holds them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from os import PathLike, fspath, path
from typing import Any

from steelyard.errors import Interrupted, SteelyardError
from steelyard.metrics import chosen
from steelyard.opening import opener, weights
from steelyard.plan import Plan, bytes_of, plan_of, run, stays_here
from steelyard.readings import Readings, check_path
from steelyard.records import Reading
from steelyard.selection import Weights
from steelyard.urls import shown

Progress = Callable[[int, int], None]


def measure(
    source: Any,
    metrics: str | Iterable[str] | None = None,
    *,
    select: Any = "**",
    view: str | None = None,
    compat: str | None = None,
    engine: str = "auto",
    workers: int | None = None,
    max_memory: int | float | str | None = None,
    progress: bool | Progress | None = None,
    resume: Readings | str | PathLike[str] | None = None,
) -> Readings:
    """Numbers about weights: of effective values, the ones that the layers compute with.

    Args:
        source: What `sy.weights` opens: a model, a layer, a selection, a `WeightSource`.
        metrics: Names of metrics or groups of `sy.catalog()`, or `"all"`; a cheap default if not
            given: norms, mean, spread, zeros, NaN and infinite entries.
        select: Which weights, as `Weights.select` reads it.
        view: How the kernel of a convolution becomes a matrix: `"flat"`, as it is if not given,
            is (positions·inputs, outputs); `"pooled"` takes the spectra of each position together.
        compat: `"weightwatcher"` for the conventions of that library, which are pooled.
        engine: `"threads"`, `"serial"`, or `"auto"`, which is threads where they pay. Of files also
            `"processes"`, and `"dask"` or `"ray"` (`pip install 'steelyard[dask]'` or `[ray]`), or
            the address of such a cluster (`tcp://…`, `ray://…`): each worker opens the path itself,
            and one that is lost loses no reading.
        workers: How many; one a core if not given.
        max_memory: How much may be used for weights and what is made of them, such as `"2 GB"`;
            half of the free memory if not given. What is larger is measured in blocks of its rows,
            as far as its source gives it so. Of a cluster by address, it is that of each worker.
        progress: Whether to show a bar; by itself, on a terminal. Or a function of how many
            weights are done and how many there are.
        resume: Readings, or a file of them, that need not be taken again; those that failed are.
            A file is written when all is done, or broken off by Ctrl-C.

    Returns:
        The readings, in the order of the source and of the metrics. What has no value has a status
        and a reason, and the other weights go on.

    Raises:
        UnknownMetricError: There is no metric of that name; names the nearest.
        UnknownAddressError: `select` matches nothing.
        Interrupted: Ctrl-C was pressed; it is a `KeyboardInterrupt`, and has the `readings` so far.
        SteelyardError: `resume` was taken with another view or other conventions.

    Example:
        >>> import keras, steelyard as sy
        >>> layer = keras.layers.Dense(2, kernel_initializer="ones", name="dense")
        >>> layer.build((None, 2))
        >>> readings = sy.measure(layer, ["l2_norm", "stable_rank"], select="kernel")
        >>> readings["kernel", "l2_norm"].value
        2.0
    """
    if compat == "weightwatcher" and view == "flat":
        raise SteelyardError("WeightWatcher pools the positions of a kernel: leave `view` out.")
    view = view or ("pooled" if compat else "flat")
    rows = chosen(metrics)
    selection = weights(source).select(select)
    before = _before(resume, view, compat)
    done = _done(before)
    plan = plan_of(selection.specs, rows, view=view, compat=compat, done=done)
    info = {"view": view, "compat": compat or "", "source": _named(source)}
    found: list[Reading] = []
    opened = (lambda: selection.source) if stays_here(engine) else opener(source)
    steps = run(plan, opened, engine=engine, workers=workers, memory=bytes_of(max_memory))

    def so_far() -> Readings:
        taken = _in_order(selection, [row.name for row in rows], [*before, *found])
        readings = Readings(taken, info=info)
        if isinstance(resume, str | PathLike):
            readings.save(resume)
        return readings

    try:
        with _shown(progress, plan) as tell:
            for number, (_, readings) in enumerate(steps, 1):
                found += readings
                tell(number, len(plan))
    except KeyboardInterrupt:
        steps.close()
        raise Interrupted(so_far()) from None
    return so_far()


def _before(resume: Any, view: str, compat: str | None) -> Readings:
    """What is known already."""
    if resume is None:
        return Readings(())
    if isinstance(resume, Readings):
        readings = resume
    else:
        check_path(resume)
        readings = Readings.load(resume) if path.exists(fspath(resume)) else Readings(())
    told = {key: readings.info.get(key) for key in ("view", "compat")}
    if len(readings) and told != {"view": view, "compat": compat or ""}:
        raise SteelyardError(
            f"The readings to resume from were taken with {told}; asked for are view={view!r} and "
            f"compat={compat!r}. Pass the same, or resume from none."
        )
    return readings


def _done(readings: Iterable[Reading]) -> dict[str, frozenset[str]]:
    done: dict[str, set[str]] = {}
    for reading in readings:
        if reading.status not in ("failed", "too large"):
            done.setdefault(reading.address, set()).add(reading.metric)
    return {address: frozenset(names) for address, names in done.items()}


def _in_order(
    selection: Weights, names: list[str], readings: Iterable[Reading]
) -> Iterator[Reading]:
    """By the order of the source, then of the metrics; the later of two of the same."""
    known = {(reading.address, reading.metric): reading for reading in readings}
    for address in selection.addresses:
        for name in names:
            if (address, name) in known:
                yield known[address, name]


def _named(source: Any) -> str:
    if isinstance(source, str | PathLike):
        return shown(source)
    kind = type(source).__name__
    name = getattr(source, "name", None)
    return f"{kind} {name!r}" if isinstance(name, str) else kind


class _shown:
    """A bar on a terminal, a function that is told, or nothing.

    Args:
        progress: As `measure` takes it.
        plan: What is to be done.
    """

    def __init__(self, progress: bool | Progress | None, plan: Plan) -> None:
        self._progress = progress
        self._wanted = sys.stderr.isatty() if progress is None else progress is True
        self._plan = plan
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if callable(self._progress):
            return self._progress
        if not self._wanted or len(self._plan) < 2:
            return lambda done, total: None
        from rich.console import Console
        from rich.progress import Progress as Bar

        self._bar = Bar(console=Console(stderr=True), transient=True)
        self._bar.start()
        task = self._bar.add_task("Measuring", total=len(self._plan))
        return lambda done, total: self._bar.update(task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
