"""Ratios between candidates that are measured in one run.

Rounds alternate between the candidates, so that a slow minute of the machine hits all of them; a
figure is the median over rounds of the ratio within a round.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

BACKENDS = ("tensorflow", "jax", "torch")


def per_backend(file: str, doc: str, measure: Callable[[bool], None]) -> None:
    """The command line: measures on one backend, or on each in a process of its own."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--backend", choices=BACKENDS)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.backend:
        os.environ["KERAS_BACKEND"] = options.backend
        import keras

        print(f"\n{keras.config.backend()}, Keras {keras.__version__}")
        measure(options.quick)
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for backend in filter(find_spec, BACKENDS):
        command = [sys.executable, file, "--backend", backend] + ["--quick"] * options.quick
        subprocess.run(command, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def alternate(candidates: dict[str, Callable[[], object]], rounds: int) -> list[dict[str, float]]:
    """Times each candidate once a round, after two rounds that compile and warm up."""
    names = list(candidates)
    results = []
    for index in range(rounds + 2):
        order = names[index % len(names) :] + names[: index % len(names)]
        results.append({name: timed(candidates[name]) for name in order})
    return results[2:]


def show(
    what: str, rounds: list[dict[str, float]], name: str, peer: str, goal: float | None = None
) -> None:
    ratios = [times[name] / times[peer] for times in rounds]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 2 else [min(ratios)] * 3
    note = "" if goal is None else f"   goal at most {goal}"
    print(f"    {what:<50} {middle:6.3f}  (quartiles {low:.3f} to {high:.3f}){note}")
