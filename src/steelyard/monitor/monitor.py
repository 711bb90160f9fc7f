"""`Monitor`: the callback that measures weights while they train."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from steelyard.live import LiveSource, to_numpy
from steelyard.metrics import chosen
from steelyard.monitor._actions import Action, act, check_action
from steelyard.monitor._gauge import Gauge
from steelyard.monitor._gradients import Gradients
from steelyard.monitor._limits import Watch, limits_of
from steelyard.monitor._logs import LogsSink
from steelyard.monitor._nonfinite import bad_gradients, bad_weights, finding_of
from steelyard.monitor._rank import rank
from steelyard.monitor._schedule import Schedule
from steelyard.monitor._sink import Sink
from steelyard.monitor._sinks import sinks_of
from steelyard.monitor._troubles import Troubles
from steelyard.plan import bytes_of, plan_of
from steelyard.readings import Readings, RunStep
from steelyard.records import Finding
from steelyard.selection import Weights

_REMEMBERED = 3
_TRIES = 3


class Monitor(keras.callbacks.Callback):
    """Measures weights while a model trains: of effective values, by address, as `sy.measure` does.

    It does not change the training: the weights and the history are the same to the last bit
    without it. What fails in it is a warning, once, and a reading with a status and a reason.

    A *step* is one batch of training. The first one is 1; a model whose optimizer has already made
    some goes on from there.

    Args:
        metrics: Names of metrics or groups of `sy.catalog()`. Those of the group `"training"` are
            only had here: `gradient_norm`, `distance_from_init`, `ema_distance`, and
            `update_ratio`, which like all that compare two weights takes the weight at the
            reading before, or at the start, and the weight now.
        select: Which weights, as `Weights.select` reads it.
        every: When: `"epoch"`, at the end of each, or every so many batches, or a function of the
            step that says whether to measure after it.
        sinks: Where the numbers go, one or a list:

            - `"logs"`: Keras's logs at the end of each epoch, so `History` and all callbacks that
              stand behind this one, as `"l2_norm/dense/kernel"`;
            - a file in `.db` (SQLite), `.jsonl` or `.parquet`, which `sy.Run.load` reads;
            - a directory, for TensorBoard;
            - `"mlflow"`, `"wandb"`, `"trackio"`, one of these modules, or a run of one;
            - an object with `log(step, readings)`, or a function of the two.

            Where several processes train one model by PyTorch's `DistributedDataParallel`, files,
            directories and trackers are written to by the first of them alone.
        on_nonfinite: What to do when a weight or a measured gradient is not finite for the first
            time: `"warn"`, `"stop"` the training, `"raise"`, `"record"` it only, or a function of
            the `Finding`, which may return one of these. All weights of the model are looked at
            when readings are taken, and after a batch whose loss is not finite.
        on_finding: The same for numbers beyond a limit.
        limits: From where on a number is a finding, by name, None for never: `exploding_update`
            (1.0), `vanishing_update` (1e-8), `exploding_gradient` (1e4), `vanishing_gradient`
            (1e-10), `dead_units` (a share of 0.5), `rank_collapse` (a share of 0.05). Each counts
            where its metric is measured.
        on_error: `"warn"` once where measuring or a sink fails, or `"raise"`.
        view: How the kernel of a convolution becomes a matrix, as in `sy.measure`.
        max_memory: As in `sy.measure`.

    Attributes:
        readings: The last readings.
        findings: All that was found so far.

    Raises:
        UnknownMetricError: There is no metric of that name.
        UnknownAddressError: At the start of training: `select` matches nothing.
        FindingError: In training, if it was asked to raise.
        MissingDependencyError: A sink needs a library that is not installed.
        SteelyardError: Another argument makes no sense.

    Example:
        >>> import keras, numpy as np, steelyard as sy
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="dense")])
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((8, 2)), np.ones((8, 1))
        >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[sy.Monitor("l2_norm")])
        >>> sorted(history.history)
        ['l2_norm/dense/kernel', 'loss']
    """

    def __init__(
        self,
        metrics: str | Iterable[str] = ("l2_norm", "update_ratio"),
        select: Any = "**/kernel",
        every: str | int | Callable[[int], Any] = "epoch",
        sinks: Any = "logs",
        on_nonfinite: Action = "warn",
        *,
        on_finding: Action = "warn",
        limits: Mapping[str, float | None] | None = None,
        on_error: str = "warn",
        view: str = "flat",
        max_memory: int | float | str | None = None,
    ) -> None:
        super().__init__()
        self._rows = chosen(metrics, training=True)
        self._select = select
        self._schedule = Schedule(every)
        self._sinks = sinks_of(sinks)
        self._open: list[Sink] = []
        self._on_nonfinite = check_action("on_nonfinite", on_nonfinite)
        self._on_finding = check_action("on_finding", on_finding)
        self._limits = limits_of(limits)
        self._troubles = Troubles(on_error)
        plan_of((), (), view=view)
        bytes_of(max_memory)
        self._view, self._memory = view, max_memory
        self._step = self._base = self._epoch = 0
        self._trained: Any = None
        self._gauge: Gauge | None = None
        self._gradients: Gradients | None = None
        self._past: deque[RunStep] = deque(maxlen=_REMEMBERED)
        self._seen: set[str] = set()
        self._failures: dict[Sink, int] = {}
        self.readings = Readings()
        self.findings: list[Finding] = []

    # --- What Keras calls -------------------------------------------------------------------------

    def on_train_begin(self, logs: Any = None) -> None:
        """Find the weights, keep what later ones are compared with, and open the sinks."""
        model = self.model
        if self._trained is not model:
            self._trained, self._step = model, 0
            self._past.clear()
        self._step = max(self._step, _batches_trained(model))
        self._base, self._seen = self._step, set()
        source = LiveSource(model)
        self._all = source.specs()
        selection = Weights(source, self._all, source.note, source.also).select(self._select)
        self._gauge = Gauge(selection, self._rows, self._view, self._memory)
        self._watch = Watch(self._limits, selection.specs)
        self._source = source
        if self._gradients is not None:  # the training before broke off
            self._gradients.close()
        self._gradients = None
        if any(row.needs == "gradient" for row in self._rows):
            self._gradients = Gradients(model)
            if self._gradients.reason:
                self._troubles.tell("measuring gradients", self._gradients.reason)
        info = self._info(model)
        self._failures = {}
        first = rank(model) == 0
        self._open = [sink for sink in self._sinks if first or not sink.once]
        for sink in self._open:
            self._failures[sink] = _TRIES
            with self._troubles.kept(f"opening {sink.name}"):
                sink.begin(info, self._step)
                self._failures[sink] = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note which epoch it is."""
        self._epoch, self._base = epoch, self._step

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """If a gradient is wanted of this batch, say so before it is gone."""
        if self._gradients is None:
            return
        self._gradients.forget()
        last = self._steps_in_epoch()
        with self._troubles.kept("the function `every`"):
            if self._schedule.at_epochs:
                wanted = last is not None and batch == last - 1
            else:
                wanted = self._schedule.due(self._step, self._step + 1)
            if wanted:
                self._gradients.ask()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Measure, if it is time, and look whether the loss is finite."""
        # Of many steps at once Keras says where they would have ended if there were so many.
        steps = self._steps_in_epoch() or batch + 1
        before, self._step = self._step, self._base + min(batch + 1, steps)
        due = False
        with self._troubles.kept("the function `every`"):
            due = self._schedule.due(before, self._step)
        if due:
            self._measure(logs)
        elif not _finite(logs):
            self._look_for_nonfinite(self._moment((), logs), logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measure, if it is time, and hand the numbers to Keras and to who wants the weights."""
        if self._schedule.at_epochs:
            self._measure(logs)
        for sink in self._open:
            if isinstance(sink, LogsSink) and logs is not None:
                sink.into(logs)
        self._write(self._show_weights)

    def on_train_end(self, logs: Any = None) -> None:
        """Close what was opened."""
        self._finish()

    # --- What it does -----------------------------------------------------------------------------

    def _measure(self, logs: Any) -> None:
        """Take the readings, hand them to the sinks, and see whether something is wrong."""
        model = self.model  # on JAX, this brings the weights of now into the model
        assert self._gauge is not None
        step = None
        with self._troubles.kept("measuring"):
            readings = self._gauge.take(self._gradient_of)
            step = self._moment(readings, logs)
            self.readings = Readings(
                readings, {**self._info(model), "step": step.step, "epoch": step.epoch}
            )
        if step is None:
            return
        for reading in step.readings:
            if reading.status == "failed":
                self._troubles.tell(f"measuring {reading.metric}", reading.reason)
        self._write(lambda sink: sink.take(step), counts=True)
        self._look_for_nonfinite(step, logs)
        self._report(self._watch.look(step.readings, step.step), self._on_finding)
        self._past.append(step)

    def _look_for_nonfinite(self, step: RunStep, logs: Any) -> None:
        """The first weights, gradients or loss that are not finite become a finding."""
        model, found = self.model, []
        with self._troubles.kept("looking for weights that are not finite"):
            del model  # its weights are those of now
            bad = {
                "weight": bad_weights(self._source, self._all, step.readings),
                "gradient": bad_gradients(step.readings),
            }
            loss = None if _finite(logs) else logs["loss"]
            if loss is not None and not bad["weight"]:
                bad["loss"] = {"": str(loss)}
            for kind, which in bad.items():
                if which and kind not in self._seen:
                    found.append(finding_of(kind, which, step, self._past, loss))
            self._seen = {kind for kind, which in bad.items() if which}
        self._report(found, self._on_nonfinite)

    def _write(self, write: Callable[[Sink], None], counts: bool = False) -> None:
        """To each sink, unless steps could not be written to it so often in a row."""
        for sink in self._open:
            failed = self._failures.get(sink, 0)
            if failed >= _TRIES:
                continue
            self._failures[sink] = failed + counts
            with self._troubles.kept(f"writing to {sink.name}"):
                write(sink)
                self._failures[sink] = 0 if counts else failed

    def _steps_in_epoch(self) -> int | None:
        """How many batches an epoch has, if Keras knows."""
        steps = (self.params or {}).get("steps")
        return None if steps is None else int(steps)

    def _report(self, findings: list[Finding], action: Action) -> None:
        """Keep findings, hand them to the sinks, and do what is to be done."""
        self.findings += findings
        for finding in findings:
            self._write(_telling(finding))
        try:
            act(action, findings, self._trained, self._troubles)
        except Exception:
            self._finish()  # Keras will not say that training has ended
            raise

    def _gradient_of(self, address: str) -> Any:
        assert self._gradients is not None
        return self._gradients.of(self._source.variable(address))

    def _show_weights(self, sink: Sink) -> None:
        assert self._gauge is not None
        for spec in self._gauge.specs if sink.wants_weights else ():
            sink.weight(self._step, spec.address, self._source.view(spec.address))

    def _moment(self, readings: Iterable[Any], logs: Any) -> RunStep:
        told = {name: float(value) for name, value in (logs or {}).items() if _is_number(value)}
        batch = self._step - self._base
        return RunStep(self._step, self._epoch, batch, tuple(readings), told)

    def _finish(self) -> None:
        for sink in self._open:
            with self._troubles.kept(f"closing {sink.name}"):
                sink.end()
        if self._gradients is not None:
            self._gradients.close()
            self._gradients = None

    def _info(self, model: keras.Model) -> dict[str, Any]:
        return {
            "source": f"{type(model).__name__} {model.name!r}",
            "view": self._view,
            "compat": "",
            "metrics": [row.name for row in self._rows],
            "select": str(self._select),
            "every": self._schedule.text,
            "backend": keras.backend.backend(),
            "keras": keras.__version__,
        }


def _telling(finding: Finding) -> Callable[[Sink], None]:
    return lambda sink: sink.found(finding)


def _batches_trained(model: keras.Model) -> int:
    """How many batches the optimizer has been through."""
    optimizer = getattr(model, "optimizer", None)  # a model that is not compiled may have none
    if optimizer is None:
        return 0
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    done = int(to_numpy(keras.ops.convert_to_tensor(optimizer.iterations)))
    return done * (inner.gradient_accumulation_steps or 1)


def _finite(logs: Any) -> bool:
    loss = (logs or {}).get("loss", 0.0)
    return not _is_number(loss) or math.isfinite(loss)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
