"""What files cost: listing, measuring, comparing and streaming them, beside reading their bytes.

python benchmarks/files.py                     all; makes and removes files of 1 GiB, one at a time
python benchmarks/files.py --only formats      one part: list, editor, norms, diff, formats, start
python benchmarks/files.py --quick             files of 64 MiB, to see that it runs

A ratio is the median over pairs; the two of a pair run one after the other in one process, on files
that the system has in its memory already, after a small file has had everything imported. What is
added to memory is the peak of a process that does it once, above what it had before.
"""

import argparse
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

SIDE = 2048  # of a matrix: 16 MiB in float32
COUNT, FEW = 64, 4
PIECE = 8 << 20
STEELYARD = str(Path(sys.executable).with_name("steelyard"))


# --- The files ------------------------------------------------------------------------------------


def make_keras(path: Path, count: int, side: int) -> None:
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(side, name=f"dense_{i}") for i in range(count)]
    keras.Sequential([keras.Input((side,)), *layers]).save(path)


def make_h5(path: Path, count: int, side: int) -> None:
    make_keras(path.with_suffix(".keras"), count, side)
    with zipfile.ZipFile(path.with_suffix(".keras")) as archive:
        os.rename(archive.extract("model.weights.h5", path.parent), path)
    path.with_suffix(".keras").unlink()


def make_legacy(path: Path, count: int, side: int) -> None:
    make_keras(path, count, side)


def make_flat(path: Path, count: int, side: int) -> None:
    from steelyard.checkpoints import WRITERS

    arrays = made(count, side)
    WRITERS[path.suffix](path, arrays, arrays.values())


def make_torch(path: Path, count: int, side: int) -> None:
    import torch

    torch.save({name: torch.from_numpy(array) for name, array in made(count, side).items()}, path)


def make_tensorflow(path: Path, count: int, side: int) -> None:
    import tensorflow

    path.mkdir()
    held = {n: tensorflow.Variable(array) for n, array in made(count, side).items()}
    tensorflow.train.Checkpoint(**held).save(path / "x")


def make_orbax(path: Path, count: int, side: int) -> None:
    import orbax.checkpoint

    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), made(count, side))


def made(count: int, side: int) -> dict:
    import numpy as np

    rng = np.random.default_rng(0)
    return {f"w{i}": rng.standard_normal((side, side), "float32") for i in range(count)}


# File name → who makes it, what must be installed, and what part of it streaming may cost.
FORMATS: dict[str, tuple[Callable[[Path, int, int], None], str]] = {
    "x.keras": (make_keras, "keras"),
    "x.weights.h5": (make_h5, "keras"),
    "x.h5": (make_legacy, "keras"),
    "x.safetensors": (make_flat, "numpy"),
    "x.npz": (make_flat, "numpy"),
    "x.pt": (make_torch, "torch"),
    "tensorflow": (make_tensorflow, "tensorflow"),
    "orbax": (make_orbax, "orbax"),
}


# --- What a process of its own measures -----------------------------------------------------------


def bytes_of(path: Path) -> int:
    """Reads all bytes of a file, or of a folder's files, into one buffer again and again."""
    buffer = bytearray(PIECE)
    total = 0
    files = [f for f in path.rglob("*") if f.is_file()] if path.is_dir() else [path]
    for file in files:
        number = os.open(file, os.O_RDONLY)
        while got := os.readv(number, [buffer]):
            total += got
        os.close(number)
    return total


def listed(path: Path) -> None:
    import steelyard as sy

    repr(sy.weights(path))


def streamed(path: Path) -> None:
    import steelyard as sy

    for weight in sy.weights(path):
        weight.numpy()


def norms(path: Path) -> None:
    import steelyard as sy

    sy.measure(path, "norms", progress=False)


def compared(path: Path) -> None:
    import steelyard as sy

    sy.diff(path, path.with_name(f"other-{path.name}"))


def loaded(path: Path) -> None:
    import keras

    keras.saving.load_model(path, compile=False)


def edited(path: Path) -> None:
    from keras.saving import KerasFileEditor

    with open(os.devnull, "w") as nowhere:
        stdout, sys.stdout = sys.stdout, nowhere
        KerasFileEditor(str(path))
        sys.stdout = stdout


def both_read(path: Path) -> None:
    bytes_of(path)
    bytes_of(path.with_name(f"other-{path.name}"))


def into_memory(path: Path) -> None:
    path.read_bytes()


def both_into_memory(path: Path) -> None:
    into_memory(path)
    into_memory(path.with_name(f"other-{path.name}"))


WORK = {
    "read": bytes_of,
    "list": listed,
    "stream": streamed,
    "norms": norms,
    "diff": compared,
    "load": loaded,
    "editor": edited,
    "two reads": both_read,
    "memory": into_memory,
    "two in memory": both_into_memory,
}


def one(names: list[str], path: Path, small: Path, rounds: int) -> None:
    """In a process of its own: prints the seconds of each, and what the first added to memory."""
    for name in names:
        WORK[name](small)
    before = peak()
    WORK[names[0]](path)
    added = peak() - before
    times = [{name: timed(lambda n=name: WORK[n](path)) for name in names} for _ in range(rounds)]
    print(json.dumps({"times": times, "memory": added}))


def peak() -> float:
    """The most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


# --- What is printed ------------------------------------------------------------------------------


class Bench:
    """Where the files are, and how large and how often."""

    def __init__(self, folder: Path, quick: bool, rounds: int) -> None:
        self.folder, self.rounds = folder, rounds
        self.count = FEW if quick else COUNT

    def make(self, name: str, count: int | None = None, prefix: str = "") -> Path:
        """The path of a new file, made by a process that ends with it."""
        large = count or self.count
        for kind, number, side in (("", large, SIDE), ("small-", 2, 8)):
            command = [sys.executable, __file__, "--make", name, f"{prefix}{kind}{name}"]
            ran([*command, str(number), str(side)], self.folder)
        return self.folder / f"{prefix}{name}"

    def beside(
        self, what: str, path: Path, ours: str, peer: str, goal: str = "", rounds: int = 0
    ) -> None:
        """Prints a ratio, the two times and the memory."""
        small = path.with_name(f"small-{path.name}")
        command = [sys.executable, __file__, "--one", ours, peer, "--path", str(path), str(small)]
        told = json.loads(ran([*command, "--rounds", str(rounds or self.rounds)], self.folder))
        ratio = statistics.median(row[ours] / row[peer] for row in told["times"])
        mine, its = (statistics.median(r[n] for r in told["times"]) for n in (ours, peer))
        memory = f"{told['memory'] / 1e6:6.0f} MB added"
        print(f"    {what:<46} {ratio:8.4f}   ({mine:.3f} s to {its:.2f} s, {memory}){goal}")

    def remove(self) -> None:
        """All files that were made."""
        for path in sorted(self.folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()


def ran(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return (done.stdout.splitlines() or [""])[-1]


def listing(bench: Bench) -> None:
    path = bench.make("x.keras")
    print(f"\n  list, {path.stat().st_size / 1e9:.2f} GB of .keras")
    bench.beside("list to Keras's load_model", path, "list", "load")
    wall, memory = command_line("list", str(path))
    alone = command_line("--help")[1]
    print(f"    steelyard list: {wall:.2f} s   goal at most 1")
    print(f"    above what `steelyard --help` takes: {(memory - alone) / 1e6:.0f} MB")
    print(f"    above the bare interpreter: {(memory - interpreter()) / 1e6:.0f} MB   goal 60")


def editor(bench: Bench) -> None:
    """On an eighth: it takes a minute for a gigabyte."""
    path = bench.make("x.keras", max(2, bench.count // 8))
    print(f"\n  list, {path.stat().st_size / 1e9:.2f} GB of .keras")
    bench.beside("list to KerasFileEditor", path, "list", "editor", rounds=1)


def measuring(bench: Bench) -> None:
    path = bench.make("x.keras")
    print(f"\n  measure --metrics norms, {path.stat().st_size / 1e9:.2f} GB of .keras")
    goal = f"   goal at most 1.5, {3 * SIDE * SIDE * 4 / 1e6:.0f} MB"
    bench.beside("to reading its bytes into 8 MiB, again and again", path, "norms", "read", goal)
    bench.beside("to reading its bytes into memory", path, "norms", "memory")


def comparing(bench: Bench) -> None:
    path = bench.make("x.keras")
    bench.make("x.keras", prefix="other-")
    print(f"\n  diff, two files of {path.stat().st_size / 1e9:.2f} GB")
    goal = "   goal at most 1.6"
    bench.beside("to reading both into 8 MiB, again and again", path, "diff", "two reads", goal)
    bench.beside("to reading both into memory", path, "diff", "two in memory")


def formats(bench: Bench) -> None:
    print(f"\n  each weight read once, {bench.count} × 16 MiB, to reading the bytes of the file")
    for name, (_, needs) in FORMATS.items():
        if importlib.util.find_spec(needs) is None:
            print(f"    {name:<46} not measured: {needs} is not installed")
            continue
        bench.beside(name, bench.make(name), "stream", "read")
        bench.remove()


def start(bench: Bench) -> None:
    path = bench.make("x.keras", 2)
    small = path.with_name(f"small-{path.name}")
    print("\n  the command, from start to end")
    for what, arguments, goal in (
        ("steelyard --help", ["--help"], 0.3),
        ("steelyard list, a small file", ["list", str(small)], 0.5),
    ):
        times = [command_line(*arguments)[0] for _ in range(2 + bench.rounds)]
        bare = [timed(lambda: subprocess.run([sys.executable, "-c", ""])) for _ in range(5)]
        print(
            f"    {what:<46} {statistics.median(times):6.2f} s   goal at most {goal}   "
            f"(the interpreter alone {statistics.median(bare):.2f} s)"
        )


def command_line(*arguments: str) -> tuple[float, float]:
    """The seconds that the command takes, and the most memory that it holds."""
    return seen([STEELYARD, *arguments])


def interpreter() -> float:
    return seen([sys.executable, "-c", ""])[1]


def seen(command: list[str]) -> tuple[float, float]:
    code = (
        "import json, resource, subprocess, sys, time\n"
        "start = time.perf_counter()\n"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)\n"
        "wall = time.perf_counter() - start\n"
        "most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024\n"
        "print(json.dumps([wall, most]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True
    )
    wall, most = json.loads(done.stdout)
    return wall, most


PARTS = {
    "list": listing,
    "editor": editor,
    "norms": measuring,
    "diff": comparing,
    "formats": formats,
    "start": start,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--path", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--make", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        name, path, count, side = options.make
        FORMATS[name][0](Path(path), int(count), int(side))
        return
    if options.one:
        one(options.one, *options.path, options.rounds)
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name, run in PARTS.items():
        if options.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                bench = Bench(Path(folder), options.quick, 1 if options.quick else options.rounds)
                run(bench)


if __name__ == "__main__":
    main()
