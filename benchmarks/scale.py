"""What is too large for memory, and what a second worker brings.

python benchmarks/scale.py                    all
python benchmarks/scale.py --only file        one part: file, streamed, engines
python benchmarks/scale.py --quick            smaller, to see that it runs

`file` writes a matrix of 100,000 × 8,192 float32 (3.3 GB) and takes its whole spectrum within 2 GB;
`streamed` gives a matrix of 1,000,000 × 32,768 (131 GB) that is nowhere as a whole its norms and
its largest singular value with a certified bound. Each case is a process of its own, so that peak
memory is its own too: of all of it, the interpreter and the libraries included.
"""

import argparse
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

BUDGET, LITTLE = "2 GB", "60 MB"
SPECTRUM = ("singular_values", "spectral_norm", "stable_rank", "effective_rank", "alpha")
NORMS = ("l1_norm", "l2_norm", "max_abs", "nan_count", "spectral_norm")
ENTRIES = ("l1_norm", "l2_norm", "max_abs", "mean", "std", "median", "nan_count")


def blocks_of(rows: int, columns: int, step: int) -> Iterator[np.ndarray]:
    """Rows of a matrix with a heavy tail, always the same however many there are at a time."""
    sizes = np.random.default_rng(0).pareto(4, size=columns).astype("float32") + 0.5
    for first in range(0, rows, step):
        count = min(step, rows - first)
        rng = np.random.default_rng(first)
        yield rng.standard_normal((count, columns), "float32") * sizes


def write(path: Path, rows: int, columns: int) -> None:
    """The matrix as an npy file, block by block."""
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks_of(rows, columns, 1000):
            file.write(block.data)


class Streamed:
    """A matrix that is made when it is asked for: windows of a pool of random numbers.

    Making 33 billion random numbers anew in each pass would take longer than measuring them.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.passes = 0
        self._pool = np.random.default_rng(0).standard_normal(1 << 24, "float32") + 0.05

    def specs(self):
        from steelyard.records import WeightSpec

        return [WeightSpec("w", (self.rows, self.columns), "float32", True, "")]

    def read(self, address: str) -> np.ndarray:
        raise MemoryError("it is never there as a whole")

    stored = read

    def blocks(self, address: str, rows: int) -> Iterator[np.ndarray]:
        self.passes += 1
        rows = min(rows, (len(self._pool) >> 1) // self.columns)
        for first in range(0, self.rows, rows):
            count = min(rows, self.rows - first)
            room = len(self._pool) - count * self.columns
            start = np.random.default_rng(first).integers(room)
            window = self._pool[start : start + count * self.columns]
            yield window.reshape(count, self.columns)


def case_file(rows: int, columns: int, budget: str, folder: str) -> dict:
    import steelyard as sy

    return _taken(sy, Path(folder) / "matrix.npy", budget, (*SPECTRUM, *ENTRIES))


def case_streamed(rows: int, columns: int, budget: str, folder: str) -> dict:
    import steelyard as sy

    source = Streamed(rows, columns)
    told = _taken(
        sy, source, budget, ("l1_norm", "l2_norm", "max_abs", "nan_count", "spectral_norm")
    )
    return told | {"passes": source.passes}


def _taken(sy, source, budget, metrics) -> dict:
    began, cpu = time.perf_counter(), time.process_time()
    readings = sy.measure(source, metrics, max_memory=budget, engine="serial", progress=False)
    return {
        "budget": budget,
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "readings": {
            r.metric: [len(r.value) if isinstance(r.value, tuple) else r.value, r.bound, r.status]
            for r in readings
        },
    }


def child(case: str, rows: int, columns: int, budget: str, folder: str = "") -> dict:
    told = json.dumps([case, rows, columns, budget, folder])
    run = subprocess.run(
        [sys.executable, __file__, "--child", told],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(run.stdout)


def show(title: str, told: dict) -> None:
    passes = f", {told['passes']} passes" if "passes" in told else ""
    print(
        f"{title}: {told['seconds']:.0f} s, {told['cpu']:.0f} s CPU{passes}, "
        f"peak {told['peak'] / 1e9:.2f} GB of {told['budget']} allowed"
    )
    for metric, (value, bound, status) in told["readings"].items():
        within = "" if bound is None else f" ± {bound:.2g}"
        print(f"  {metric:16} {value!r:>24}{within}{'' if status == 'ok' else f'  {status}'}")


def part_file(quick: bool) -> None:
    rows, columns, budget = (20_000, 1_024, LITTLE) if quick else (100_000, 8_192, BUDGET)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "matrix.npy", rows, columns)
        title = f"file, {rows:,} × {columns:,} float32, {rows * columns * 4 / 1e9:.1f} GB"
        show(title, child("file", rows, columns, budget, folder))


def part_streamed(quick: bool) -> None:
    rows, columns, budget = (20_000, 2_048, LITTLE) if quick else (1_000_000, 32_768, BUDGET)
    title = f"streamed, {rows:,} × {columns:,} float32, {rows * columns * 4 / 1e9:.1f} GB"
    show(title, child("streamed", rows, columns, budget))


# --- Engines --------------------------------------------------------------------------------------


def matrices(path: Path, count: int, side: int) -> None:
    """So many square matrices as an npz file."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            with archive.open(f"w{number}.npy", "w") as file:
                np.lib.format.write_array(file, rng.standard_normal((side, side), "float32"))


class Taken(NamedTuple):
    """The least of three runs, since others use the machine too."""

    seconds: float
    cpu: float
    readings: object


def timed(path: Path, metrics, engine: str, workers: int) -> Taken:
    import steelyard as sy

    told = dict(engine=engine, workers=workers, max_memory=BUDGET, progress=False)
    seconds, spent = [], []
    for _ in range(3):
        began, before = time.perf_counter(), cpu()
        readings = sy.measure(path, metrics, **told)
        seconds.append(time.perf_counter() - began)
        spent.append(cpu() - before)
    return Taken(min(seconds), min(spent), readings)


def cpu() -> float:
    """The CPU time of this process, and of those that it started and that have ended."""
    who = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in who)


def part_engines(quick: bool) -> None:
    """What starting costs, what a task costs beside its work, what a second worker brings."""
    count, side, many = (8, 256, 200) if quick else (48, 768, 2_000)
    engines = ["threads", "processes"]
    for name, library in (("dask", "distributed"), ("ray", "ray")):
        if importlib.util.find_spec(library):
            engines.append(name)
    with tempfile.TemporaryDirectory() as folder:
        one, half, all_, tiny, wide = (Path(folder) / f"{name}.npz" for name in "abcde")
        for path, number, size in (
            (one, 1, 8),
            (half, count // 2, side),
            (all_, count, side),
            (tiny, many, 8),
            (wide, 1, 8 * side),
        ):
            matrices(path, number, size)
        alone = timed(all_, "spectral", "serial", 1)
        alone_half = timed(half, "spectral", "serial", 1)
        alone_tiny = timed(tiny, "l2_norm", "serial", 1)
        alone_wide = timed(wide, None, "serial", 1)
        print(f"engines, on a machine whose load average is {os.getloadavg()[0]:.1f}")
        print(f"  {1e9 * alone.cpu / (count * side**2):.1f} ns CPU a parameter: spectra, {side}²")
        print(f"  {1e9 * alone_wide.cpu / (8 * side) ** 2:.2f} ns CPU a parameter: the default")
        print(f"  {1e3 * alone_tiny.cpu / many:.2f} ms CPU a weight of 64 entries")
        print(f"  serial    {count} matrices: {alone.seconds:.2f} s, {alone.cpu:.2f} s CPU")
        for engine in engines:
            start = timed(one, "l2_norm", engine, 2)
            full = timed(all_, "spectral", engine, 2)
            small = timed(tiny, "l2_norm", engine, 2)
            assert full.readings == alone.readings, f"{engine} gives other readings"
            beside = (small.cpu - start.cpu - alone_tiny.cpu) / many
            print(
                f"  {engine:9} {count} matrices on two: {full.seconds:.2f} s, {full.cpu:.2f} s "
                f"CPU; {alone.seconds / full.seconds:.2f}× as fast; twice the work on two: "
                f"{full.seconds / alone_half.seconds:.2f}× the time; start {start.seconds:.2f} s, "
                f"{start.cpu:.2f} s CPU; {1e3 * beside:.2f} ms CPU beside a small weight"
            )


PARTS = {"file": part_file, "streamed": part_streamed, "engines": part_engines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.child:
        case, *rest = json.loads(told.child)
        print(json.dumps({"file": case_file, "streamed": case_streamed}[case](*rest)))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name, part in PARTS.items():
        if told.only in (None, name):
            part(told.quick)


if __name__ == "__main__":
    main()
