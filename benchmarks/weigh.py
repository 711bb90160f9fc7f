"""What weighing costs: time, CPU time and memory beside WeightWatcher, on the same matrices.

python benchmarks/weigh.py                     all
python benchmarks/weigh.py --only bert         one part: bert, resnet50, large, values, machine
python benchmarks/weigh.py --quick             smaller and fewer, to see that it runs

WeightWatcher 0.7.7 is installed into a folder of its own (`make bench` does it): it brings torch,
pandas, matplotlib and more, and is no dependency of ours. Each candidate of each round is a process
of its own, so that peak memory is its own too; imports and the making of the matrices are not
timed.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

PEERS = Path(sys.prefix) / "peers"
DEFAULT = ("spectral", "powerlaw")
ALL = (*DEFAULT, "bulk", "random")


def bert(quick: bool) -> dict[str, np.ndarray]:
    """The 72 matrices of a 12-block BERT-base, with spectra as training leaves them."""
    rng = np.random.default_rng(0)
    shapes = [(768, 768)] * 4 + [(768, 3072), (3072, 768)]
    blocks = 1 if quick else 12
    return {
        f"block{b}/w{i}": heavy(rng, *shape)
        for b in range(blocks)
        for i, shape in enumerate(shapes)
    }


def heavy(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Gaussian entries whose columns and rows have sizes of a power law: a heavy tail."""
    w = rng.normal(size=(rows, columns)) / np.sqrt(rows)
    w *= rng.pareto(4, size=columns) + 0.5
    return w.astype("float32")


def resnet50(quick: bool) -> dict[str, np.ndarray]:
    """The 54 kernels of a ResNet50, by their shapes."""
    rng = np.random.default_rng(1)
    shapes, channels = [(7, 7, 3, 64)], 64
    for width, repeats in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for index in range(1 if quick else repeats):
            if index == 0:
                shapes.append((1, 1, channels, 4 * width))
            shapes += [(1, 1, channels, width), (3, 3, width, width), (1, 1, width, 4 * width)]
            channels = 4 * width
    shapes.append((2048, 1000))
    return {f"k{i}": rng.normal(0, 0.05, size=s).astype("float32") for i, s in enumerate(shapes)}


def large(quick: bool) -> dict[str, np.ndarray]:
    """One matrix of 4096 × 4096."""
    side = 1024 if quick else 4096
    return {"w": heavy(np.random.default_rng(2), side, side)}


MATRICES = {"bert": bert, "resnet50": resnet50, "large": large}


# --- Candidates: what a process of its own measures -----------------------------------------------


class Arrays:
    """Matrices as a source of weights."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays

    def specs(self):
        from steelyard.records import WeightSpec

        return [WeightSpec(k, a.shape, "float32", True, "Dense") for k, a in self.arrays.items()]

    def read(self, address):
        return self.arrays[address]

    def stored(self, address):
        return {"value": self.arrays[address]}


def ours(arrays: dict[str, np.ndarray], full: bool, workers: int) -> object:
    import steelyard as sy

    told = dict(view="pooled", compat="weightwatcher", workers=workers, max_memory="16 GB")
    return sy.measure(Arrays(arrays), ALL if full else DEFAULT, progress=False, **told)


def theirs(arrays: dict[str, np.ndarray], full: bool, workers: int) -> object:
    import torch
    import weightwatcher

    torch.set_num_threads(workers)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, array in arrays.items():
                name = name.replace("/", "_")
                if array.ndim == 2:
                    layer = torch.nn.Linear(*array.shape, bias=False)
                    tensor = torch.tensor(array.T.copy())
                else:
                    high, wide, inputs, outputs = array.shape
                    layer = torch.nn.Conv2d(inputs, outputs, (high, wide), bias=False)
                    tensor = torch.tensor(array.transpose(3, 2, 0, 1).copy())
                layer.weight = torch.nn.Parameter(tensor)
                setattr(self, name, layer)

    watcher = weightwatcher.WeightWatcher(model=Model(), log_level=50)
    told = dict(mp_fit=True, detX=True, randomize=True) if full else {}
    return watcher.analyze(**told, plot=False)


def one(candidate: str, part: str, full: bool, workers: int, quick: bool) -> None:
    """In a process of its own: prints wall time, CPU time and what was added to the memory."""
    if candidate == "theirs":
        sys.path.append(str(PEERS))
    run = {"ours": ours, "theirs": theirs}[candidate]
    arrays = MATRICES[part](quick)
    small = {"small": np.random.default_rng(0).normal(size=(64, 32)).astype("float32")}
    with open(os.devnull, "w") as nowhere:
        stdout, sys.stdout = sys.stdout, nowhere
        run(small, full, workers)  # imports, and what is made once
        before = peak()
        wall, cpu = time.perf_counter(), time.process_time()
        run(arrays, full, workers)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        sys.stdout = stdout
    print(json.dumps({"wall": wall, "cpu": cpu, "memory": peak() - before}))


def peak() -> float:
    """The most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def measured(candidate: str, part: str, full: bool, workers: int, quick: bool) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", candidate, "--only", part]
    command += ["--workers", str(workers)] + ["--full"] * full + ["--quick"] * quick
    threads = {k: str(workers) for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **threads}, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


# --- What is printed ------------------------------------------------------------------------------


def beside(part: str, full: bool, rounds: int, quick: bool, goals: dict[str, float]) -> None:
    """Ratios to WeightWatcher: CPU and memory on one thread, wall time on all cores."""
    what = f"{part}, {'all columns, with randomize' if full else 'default columns'}"
    single = [
        {name: measured(name, part, full, 1, quick) for name in ("ours", "theirs")}
        for _ in range(rounds)
    ]
    both = [
        {
            name: measured(name, part, full, os.cpu_count() or 1, quick)
            for name in ("ours", "theirs")
        }
        for _ in range(rounds)
    ]
    print(f"\n  {what}: to WeightWatcher, median of {rounds}")
    for label, rows, key in (("CPU, one thread", single, "cpu"), ("wall, all cores", both, "wall")):
        ratio = statistics.median(row["ours"][key] / row["theirs"][key] for row in rows)
        mine = statistics.median(row["ours"][key] for row in rows)
        its = statistics.median(row["theirs"][key] for row in rows)
        goal = f"   goal at most {goals[key]:.3f}" if key in goals else ""
        print(f"    {label:<18} {ratio:6.3f}   ({mine:.2f} s to {its:.2f} s){goal}")
    memory = [statistics.median(r[n]["memory"] for r in single) / 1e6 for n in ("ours", "theirs")]
    print(f"    {'memory added':<18} {memory[0]:6.0f} MB to {memory[1]:.0f} MB")


def machine(quick: bool) -> None:
    """All spectra of the BERT matrices, to what the machine's own GEMM rate allows."""
    from threadpoolctl import threadpool_limits

    from steelyard.metrics._matrix import matrices
    from steelyard.metrics._spectrum import Spectrum

    with threadpool_limits(1):
        side = 1024
        a = np.random.default_rng(0).normal(size=(side, side))
        rate = 2 * side**3 / min(timed(lambda: a @ a) for _ in range(7))
        arrays = bert(quick)
        flops = sum(
            # syrk, and reducing the Gram matrix to a tridiagonal one
            max(a.shape) * min(a.shape) ** 2 + 4 / 3 * min(a.shape) ** 3
            for a in arrays.values()
        )
        took = statistics.median(
            timed(lambda: [Spectrum(matrices(a)) for a in arrays.values()]) for _ in range(3)
        )
    print(
        f"\n  all spectra of {len(arrays)} matrices; GEMM here {rate / 1e9:.0f} Gflop/s in float64"
    )
    print(
        f"    to the time of their flops at that rate {took * rate / flops:6.2f}   goal at most 2.0"
    )


def values(quick: bool) -> None:
    """Norms and value statistics of a model in memory, to reading it once."""
    from steelyard.metrics import chosen, compute

    count = 10 if quick else 250
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=1_000_000).astype("float32") for _ in range(count)]
    buffer = np.empty_like(arrays[0])

    def read() -> None:
        # As a reduction does: every byte once; int64 sums are at the read limit.
        for array in arrays:
            np.add.reduce(array.view("int64"))

    def measure(*names: str) -> None:
        for array in arrays:
            for _ in compute(array, chosen(names)):
                pass

    norms = ("l1_norm", "l2_norm", "max_abs", "mean", "zero_fraction")
    rows = []
    for _ in range(5):
        rows.append([timed(read), timed(lambda: measure(*norms)), timed(lambda: measure("values"))])
    base = statistics.median(row[0] for row in rows)
    print(f"\n  {count} MB × 4 in memory, read at {count * 4e6 / base / 1e9:.1f} GB/s")
    for index, what, goal in ((1, "norms, mean, zeros", 3), (2, "all value statistics", 12)):
        ratio = statistics.median(row[index] / row[0] for row in rows)
        print(f"    {what:<22} {ratio:6.2f} reads   goal at most {goal}")
    del buffer


def timed(run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=(*MATRICES, "machine", "values"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    for hidden in ("--one", "--workers"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--full", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one, options.only, options.full, int(options.workers), options.quick)
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    rounds = 1 if options.quick else options.rounds
    parts = {
        "machine": lambda: machine(options.quick),
        "values": lambda: values(options.quick),
        "bert": lambda: [
            beside("bert", False, rounds, options.quick, {"cpu": 0.25, "wall": 1 / 7}),
            beside("bert", True, 1, options.quick, {"cpu": 1 / 20}),
        ],
        "resnet50": lambda: [
            beside("resnet50", False, rounds, options.quick, {"cpu": 0.25}),
            beside("resnet50", True, 1, options.quick, {"cpu": 1 / 40}),
        ],
        "large": lambda: [beside("large", True, 1, options.quick, {"cpu": 0.25})],
    }
    for name, run in parts.items():
        if options.only in (None, name):
            run()


if __name__ == "__main__":
    main()
