"""How long a measurement takes on more workers than there are here: a simulation, and its check.

python benchmarks/simulated.py            measures the costs, checks the simulation, extends it
python benchmarks/simulated.py --quick    smaller, to see that it runs

Simulated is what `sy.measure` does: the plan's own batches, costliest first, each given to the
worker that is free, by one process that gives one at a time. What it takes from here are the costs:
of an operation, a weight, a batch, a start, of opening a shard. They are measured on one worker (a
start also on eight, which share the cores); the check is on two, where the work is computing, and
on up to eight, where it is waiting for a store that is slow by itself: a read that sleeps.
"""

import argparse
import heapq
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import steelyard as sy
from steelyard.checkpoints import write_safetensors
from steelyard.metrics import chosen
from steelyard.opening import opener
from steelyard.plan import plan_of
from steelyard.plan._batches import Batch, batches
from steelyard.plan._crew import over
from steelyard.plan._plan import Task
from steelyard.plan._processes import Processes
from steelyard.plan._remote import packed
from steelyard.records import WeightSpec

sys.path.insert(1, str(Path(__file__).parent.parent))
from tests.checkpoints.web import serving

WIDTHS = {"bfloat16": 2, "float32": 4}


class Costs(NamedTuple):
    """In seconds, and bytes a second.

    Args:
        start: Until the first worker has opened a source of one shard.
        more: So much later for each worker beside it that starts on the same cores.
        shard: Reading the header of a shard: of all, by who asks; by a worker, of those that it
            has weights of.
        batch: For each batch, at the one who gives them: one at a time.
        weight: For each weight, at its worker, beside reading and computing.
        operation: For one operation, as a task counts them.
        link: How fast one worker reads.
        store: How fast all of them read together.
        at_a_time: How many headers are read at a time by who asks.
    """

    start: float
    more: float
    shard: float
    batch: float
    weight: float
    operation: float
    link: float = float("inf")
    store: float = float("inf")
    at_a_time: int = 1


class Run(NamedTuple):
    """What a simulated run takes."""

    seconds: float
    opening: float
    reading: float
    computing: float
    batches: int


def tasks_of(specs: Sequence[WeightSpec], metrics) -> list[Task]:
    """As `plan.run` orders them."""
    plan = plan_of(specs, chosen(metrics))
    return sorted(plan.tasks, key=lambda task: -task.cost("flat"))


def simulate(tasks: Sequence[Task], workers: int, costs: Costs, shards: int = 1) -> Run:
    """List scheduling: each batch goes to the worker that is free first."""
    opening = costs.shard * (shards - 1) / costs.at_a_time
    ready = costs.start + costs.more * (workers - 1) + opening
    free = [(ready, worker) for worker in range(workers)]
    opened: list[set[str]] = [set() for _ in free]
    giver = reading = computing = 0.0
    count = 0
    for batch in batches(tasks, "flat", workers):
        end, worker = heapq.heappop(free)
        begin = max(end, ready + giver + costs.batch)
        giver = max(giver, begin - ready) + costs.batch
        # Who is free first is free now, or waits for the giver: then others may be, too.
        busy = workers if begin == end else sum(end > begin for end, _ in free) + 1
        rate = min(costs.link, costs.store / busy)
        size = sum(t.spec.size * WIDTHS[t.spec.dtype] for t in batch.tasks)
        work = costs.operation * sum(t.cost("flat") for t in batch.tasks)
        new = {shard_of(task) for task in batch.tasks} - opened[worker] if shards > 1 else set()
        opened[worker] |= new
        beside = len(batch.tasks) * costs.weight + len(new) * costs.shard
        heapq.heappush(free, (begin + beside + size / rate + work, worker))
        reading, computing, count = reading + size / rate, computing + work, count + 1
    return Run(max(end for end, _ in free), opening, reading / workers, computing / workers, count)


def shard_of(task: Task) -> str:
    return task.spec.address.partition("/")[0]


class Distant:
    """Weights of a store that gives each reader so many bytes a second: a read sleeps."""

    def __init__(self, shapes: Sequence[tuple[int, int]], link: float) -> None:
        self.shapes, self.link = shapes, link

    def specs(self) -> list[WeightSpec]:
        return [WeightSpec(f"w{i}", s, "float32", True, "") for i, s in enumerate(self.shapes)]

    def read(self, address: str) -> np.ndarray:
        shape = self.shapes[int(address[1:])]
        time.sleep(4 * shape[0] * shape[1] / self.link)
        return np.ones(shape, "float32")

    def stored(self, address: str) -> dict[str, np.ndarray]:
        return {"value": self.read(address)}


# --- Measured on one worker -----------------------------------------------------------------------


def seconds(source, metrics, workers: int, engine: str = "processes", times: int = 3) -> float:
    """The shortest of some runs, since others use the machine too."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        got = sy.measure(source, metrics, engine=engine, workers=workers, progress=False)
        found.append(time.perf_counter() - began)
        assert not got.filter(status="failed")
    return min(found)


def matrices(path: Path, count: int, side: int) -> Path:
    rng = np.random.default_rng(0)
    np.savez(path, **{f"w{i}": rng.standard_normal((side, side), "float32") for i in range(count)})
    return path


def specs_in(path) -> tuple[WeightSpec, ...]:
    return tuple(sy.weights(path).specs)


def per_batch(path: Path, count: int) -> float:
    """Each weight by itself, less those that travel together."""
    plan = plan_of(specs_in(path), chosen("max_abs"))
    told = packed(opener(path), plan, 1e9)
    times = []
    for size in (1, count):
        given = [Batch(tuple(plan.tasks[i : i + size])) for i in range(0, count, size)]
        found = []
        for _ in range(3):
            began = time.perf_counter()
            assert sum(1 for _ in over(Processes(1, told), plan, given)) == count
            found.append(time.perf_counter() - began)
        times.append(min(found))
    return max(1e-5, (times[0] - times[1]) / (count - 1))


def in_shards(folder: Path, count: int) -> Path:
    """Safetensors of so many shards, of eight small weights each."""
    folder.mkdir()
    where = {}
    for i in range(count):
        keys = [f"s{i}.w{n}" for n in range(8)]
        write_safetensors(folder / f"{i}.safetensors", keys, [np.ones((8, 8), "float32")] * 8)
        where |= dict.fromkeys(keys, f"{i}.safetensors")
    path = folder / "x.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": where}))
    return path


def per_shard(folder: Path, count: int) -> float:
    """Opening safetensors of many shards, less of one."""
    times = []
    for number in (1, count):
        path = in_shards(folder / f"shards-{number}", number)
        found = []
        for _ in range(5):
            began = time.perf_counter()
            source = sy.weights(path).source
            found.append(time.perf_counter() - began)
            source.close()
        times.append(min(found))
    return (times[1] - times[0]) / (count - 1)


def costs_here(folder: Path, quick: bool) -> dict[str, Costs]:
    """The costs of this machine, for cheap numbers and for spectra."""
    side, many = (256, 100) if quick else (768, 1000)
    one, eight = (matrices(folder / f"{n}.npz", n, 8) for n in (1, 8))
    tiny = matrices(folder / "tiny.npz", many, 8)
    large = matrices(folder / "large.npz", 8, side)
    wide = matrices(folder / "wide.npz", 1, 8 * side)
    start = seconds(one, "max_abs", 1)
    weight = max(1e-5, (seconds(tiny, "max_abs", 1) - start) / many)
    told = dict(shard=per_shard(folder, 50 if quick else 400), weight=weight)
    told["batch"] = per_batch(tiny, many)
    found = {}
    for name, path, metrics in (("norms", wide, None), ("spectral", large, "spectral")):
        # With what these metrics import.
        told["start"] = seconds(one, metrics, 1, times=5)
        told["more"] = max(0.0, seconds(eight, metrics, 8) - told["start"]) / 7
        work = sum(task.cost("flat") for task in tasks_of(specs_in(path), metrics))
        found[name] = Costs(operation=seconds(path, metrics, 1, "serial", 5) / work, **told)
    return found


# --- The check ------------------------------------------------------------------------------------


def check(title: str, workers: int, measured: float, run: Run) -> None:
    apart = run.seconds / measured - 1
    print(f"  {title:32} {workers:3}  {measured:7.2f} s  {run.seconds:7.2f} s  {apart:+.0%}")


def part_check(folder: Path, costs: dict[str, Costs], quick: bool) -> None:
    print(f"check, at a load average of {os.getloadavg()[0]:.1f}: workers, measured, simulated")
    part_spectra(folder, costs, quick)
    part_slow_web(folder, costs["norms"], 16 if quick else 256)
    link = 40e6
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.uniform(np.log(2e5), np.log(2e6), 24 if quick else 96)) / 1000
    shapes = [(1000, int(size)) for size in sizes]
    for title, most in (("a slow store, all (strong)", len(shapes)), ("a slow store (weak)", 12)):
        for workers in (1, 2, 4, 8):
            source = Distant(shapes[: most if most > 12 else most * workers], link)
            told = costs["norms"]._replace(link=link)
            run = simulate(tasks_of(source.specs(), "max_abs"), workers, told)
            check(title, workers, seconds(source, "max_abs", workers, times=2), run)


def part_spectra(folder: Path, costs: dict[str, Costs], quick: bool) -> None:
    """Computing, in turn with what it is held against: others may take the cores at any moment."""
    count, side = (8, 256) if quick else (32, 768)
    half, whole = (matrices(folder / f"m{n}.npz", n, side) for n in (count // 2, count))
    cases = {("half", 1): half, ("all (strong)", 1): whole, ("all (strong, weak)", 2): whole}
    taken, alone = {case: [] for case in cases}, []
    for _ in range(2 if quick else 6):
        alone.append(seconds(whole, "spectral", 1, "serial", 1))
        for case, path in cases.items():
            taken[case].append(seconds(path, "spectral", case[1], times=1))
    tasks = {path: tasks_of(specs_in(path), "spectral") for path in (half, whole)}
    operation = min(alone) / sum(task.cost("flat") for task in tasks[whole])
    for (title, workers), path in cases.items():
        told = costs["spectral"]._replace(operation=operation)
        run = simulate(tasks[path], workers, told)
        check(f"spectra, {title}", workers, min(taken[title, workers]), run)


def part_slow_web(folder: Path, costs: Costs, shards: int) -> None:
    """Many shards on a web server that takes 50 ms for each answer."""
    path = in_shards(folder / "web", shards)
    with serving() as web:
        for file in path.parent.iterdir():
            web.put(file.name, file.read_bytes())
        web.change = lambda *_: time.sleep(0.05)
        url = f"{web.url}/{path.name}"
        told = costs._replace(shard=0.05 + costs.shard, at_a_time=16)
        # The index twice, to see what it is and to read it, here and by each worker.
        told = told._replace(start=costs.start + 4 * 0.05)
        for workers in (1, 4, 8):
            run = simulate(tasks_of(specs_in(path), "max_abs"), workers, told, shards)
            took = seconds(url, "max_abs", workers, times=2)
            check(f"{shards} shards of a slow web (strong)", workers, took, run)


# --- More than there is here ----------------------------------------------------------------------

# Four of attention, three of a feed-forward: 0.49 GB of bfloat16.
SHARD = 4 * [(4096, 4096)] + 3 * [(4096, 14336)]
MACHINES = (
    ("one machine, 16 workers", 16, 1.2e9, 3e9),
    ("a cluster, 32 machines of 16", 512, 0.3e9, 20e9),
    ("a pod, 128 machines of 16", 2048, 0.3e9, 100e9),
)


def part_extend(costs: dict[str, Costs], shards: int) -> None:
    print(f"extended to {shards:,} shards of 0.49 GB: {0.49 * shards / 1000:.1f} TB")
    specs = [
        WeightSpec(f"s{i}/w{n}", shape, "bfloat16", True, "")
        for i in range(shards)
        for n, shape in enumerate(SHARD)
    ]
    for name, metrics in (("norms", None), ("spectral", "spectral")):
        tasks = tasks_of(specs, metrics)
        for title, workers, link, store in MACHINES:
            told = costs[name]._replace(link=link, store=store, start=5.0, more=0.0)
            for where, shard, many in (("a disk", told.shard, 1), ("a store, 60 ms", 0.06, 16)):
                told = told._replace(shard=shard, at_a_time=many)
                run = simulate(tasks, workers, told, shards)
                ideal = run.computing / run.seconds
                print(
                    f"  {name:9} {title:28} {where:15} {run.seconds:9,.0f} s: opening "
                    f"{run.opening:5,.0f}, reading {run.reading:7,.0f}, computing "
                    f"{run.computing:8,.0f} ({ideal:.0%}); {run.batches:,} batches"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        costs = costs_here(folder, quick)
        for what, told in costs.items():
            shown = ", ".join(f"{key} {value:.3g}" for key, value in told._asdict().items())
            print(f"  costs of {what}: {shown}")
        part_check(folder, costs, quick)
    part_extend(costs, 100 if quick else 10_000)


if __name__ == "__main__":
    # By its name, so that what is sent to workers is found there.
    import simulated

    simulated.main()
