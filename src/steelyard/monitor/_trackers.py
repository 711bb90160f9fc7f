"""The sinks of experiment trackers: MLflow, Weights & Biases and trackio, by what they all log."""

from __future__ import annotations

import inspect
import math
import re
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from steelyard.errors import MissingDependencyError
from steelyard.monitor._sink import Sink, numbers
from steelyard.readings import RunStep

TRACKERS = ("mlflow", "wandb", "trackio")
_STEP = "steelyard/step"


def tracker_sink(name: str, target: Any) -> Sink:
    """The sink of a tracker.

    Args:
        name: One of `TRACKERS`.
        target: Its module, or a run of it; None for the module.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    if target is None:
        try:
            target = import_module(name)
        except ImportError as error:
            raise MissingDependencyError(
                f"{name} is needed for this and cannot be imported ({error}): pip install {name}"
            ) from error
    return MlflowSink(target) if name == "mlflow" else LogSink(name, target)


class LogSink(Sink):
    """Logs to the running run of wandb or trackio, or to a run that is given.

    To wandb no step is passed, since it drops whatever comes with a lower one than it has seen of
    others; the step is a number of its own, which the panels go by.

    Args:
        kind: `"wandb"` or `"trackio"`.
        target: The module or the run.
    """

    once = True

    def __init__(self, kind: str, target: Any) -> None:
        self.name = f"the sink {kind}"
        self._steps = kind == "trackio"
        self._target = target
        self._known: set[str] = set()

    def take(self, step: RunStep) -> None:
        """Log the numbers of a step."""
        told = numbers(step)
        if self._steps:
            self._target.log(_finite(told), step=step.step)
            return
        for metric in {reading.metric for reading in step.readings} - self._known:
            self._target.define_metric(f"{metric}/*", step_metric=_STEP)
            self._known.add(metric)
        self._target.log({**told, _STEP: step.step})


class MlflowSink(Sink):
    """Logs to the active run of MLflow, or to a run that is given.

    Args:
        target: The module, or a run.
    """

    name = "the sink mlflow"
    once = True

    def __init__(self, target: Any) -> None:
        self._run = None if inspect.ismodule(target) else target
        self._client: Any = None
        self._id = ""

    def begin(self, info: Mapping[str, Any], start: int) -> None:
        """Find the run; one is started if none is active."""
        mlflow: Any = import_module("mlflow")
        run = self._run or mlflow.active_run() or mlflow.start_run()
        self._id, self._client = run.info.run_id, mlflow.tracking.MlflowClient()

    def take(self, step: RunStep) -> None:
        """Log the numbers of a step, a thousand at a time, without waiting where MLflow can."""
        metric: Any = import_module("mlflow").entities.Metric
        now = int(time.time() * 1000)
        told = [
            metric(_mlflow_name(name), value, now, step.step)
            for name, value in numbers(step).items()
        ]
        later = "synchronous" in inspect.signature(self._client.log_batch).parameters
        given = {"synchronous": False} if later else {}
        for begin in range(0, len(told), 1000):
            self._client.log_batch(self._id, metrics=told[begin : begin + 1000], **given)


def _mlflow_name(name: str) -> str:
    """A name as MLflow allows it."""
    return re.sub(r"[^\w\-. /]", "_", name)


def _finite(told: Mapping[str, float]) -> dict[str, float]:
    """What JSON can hold."""
    return {name: value for name, value in told.items() if math.isfinite(value)}
