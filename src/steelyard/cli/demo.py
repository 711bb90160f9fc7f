"""`steelyard demo`: the main job, start to end, on real data.

Run as a module, this file is the fresh process of the demo: it loads the files that are named on
its command line, and prints what their weights weigh.

Longer than other files, because it is a whole job with its own two models, and reads best in the
order in which things happen.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from steelyard.errors import MissingDependencyError, SteelyardError

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

BACKENDS = ("tensorflow", "jax", "torch")

STAGES = {
    "trained": "before saving",
    "loaded": "after loading, in a fresh process",
    "NumPy": "in the saved file, as NumPy reads it without Keras",
    "cloned": "after keras.models.clone_model and set_weights",
    "tuned": "the clone after one more epoch",
    "seen": "the same, as the layer sees it that borrows the weight",
}


@click.command()
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    metavar="N",
    help="How long each model trains.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep the saved models in this folder.",
)
@click.option("--backend", type=click.Choice(BACKENDS), help="What Keras computes with.")
@click.pass_context
def demo(context: click.Context, epochs: int, out: Path | None, backend: str | None) -> None:
    """Train, save, load and clone models that borrow weights.

    On scikit-learn's digits, it trains a classifier that reports the norm of its first kernel, and
    an autoencoder whose decoder uses the kernels of the encoder. It saves both, loads them in a
    fresh process, reads the files with NumPy alone, clones both and trains the clones. Then it
    weighs every weight at each of these stages.

    Exit status: 0 if all numbers agree that must, 1 if not, 2 if something is missing.
    """
    choose_backend(backend)
    if find_spec("sklearn") is None:
        raise MissingDependencyError(
            'The demo needs scikit-learn for its data: pip install "steelyard[demo]"'
        )
    from rich.console import Console

    console = Console(highlight=False)
    with contextlib.ExitStack() as stack:
        if out is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            folder = out
            folder.mkdir(parents=True, exist_ok=True)
        results = run(epochs, folder, stack.enter_context(_steps()))
    checks = [check for result in results for check in result.checks()]
    show(results, checks, console)
    if out is not None:
        console.print(f"The models are in {out}.", soft_wrap=True, markup=False)
    context.exit(status(checks))


# --- the backend --------------------------------------------------------------------------------


def choose_backend(asked: str | None) -> str:
    """Settles what Keras will compute with, before it is imported, and keeps it quiet.

    Args:
        asked: What the command line says, if anything; it wins over `KERAS_BACKEND`, that over
            Keras's config file, and that over whatever is installed.

    Raises:
        MissingDependencyError: If it is not installed, or none is.
        SteelyardError: If Keras cannot train with it.
    """
    named = asked or os.environ.get("KERAS_BACKEND")
    installed = [name for name in BACKENDS if find_spec(name) is not None]
    extras = " or ".join(f'"steelyard[{name}]"' for name in BACKENDS)
    if named and named not in BACKENDS:
        raise SteelyardError(
            f"The demo trains, which Keras does with {', '.join(BACKENDS)}. "
            f"Received: KERAS_BACKEND={named!r}"
        )
    if named and named not in installed:
        raise MissingDependencyError(f"{named} is not installed: pip install {extras}")
    if not installed:
        raise MissingDependencyError(f"Keras needs a backend, none is there: pip install {extras}")
    configured = _configured_backend()
    chosen = named or (configured if configured in installed else installed[0])
    os.environ["KERAS_BACKEND"] = chosen
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # The matrices are tiny: more threads would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return chosen


def _configured_backend() -> str | None:
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        return str(json.loads((home / "keras.json").read_text(encoding="utf-8"))["backend"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


# --- what is compared ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """Two numbers that must agree.

    Args:
        what: Which numbers they are, as a sentence can begin.
        left: The one.
        right: The other.
        within: How far apart they may be, relative to the larger one.
    """

    what: str
    left: float
    right: float
    within: float = 1e-6

    @property
    def agrees(self) -> bool:
        """Whether they do; nothing agrees with a number that is none."""
        return math.isclose(self.left, self.right, rel_tol=self.within)


def status(checks: Iterable[Check]) -> int:
    """The exit status: 1 if any two numbers disagree that must agree."""
    return int(not all(check.agrees for check in checks))


@dataclass(frozen=True)
class Row:
    """The norms of one weight.

    Args:
        address: Where the weight is.
        shape: Its shape.
        lent_to: The layer that borrows it; empty if none does.
        norms: The norm at each stage, that of the original after its clone was tuned as well.
        seen: At each stage, the norm as the layer that borrows the weight sees it.
    """

    address: str
    shape: tuple[int, ...]
    lent_to: str
    norms: dict[str, float]
    seen: dict[str, float]

    def checks(self) -> Iterator[Check]:
        """All that must agree in this row."""
        for stage in ("loaded", "NumPy", "cloned", "original"):
            what = f"{self.address}: trained, {stage}"
            yield Check(what, self.norms["trained"], self.norms[stage])
        for stage, norm in self.seen.items():
            what = f"{self.address}: {stage}, seen by {self.lent_to}"
            yield Check(what, self.norms[stage], norm)


@dataclass(frozen=True)
class Result:
    """What came of one model.

    Args:
        name: The name of the model.
        story: What it is good for, in a line or two.
        rows: Its weights.
        others: What else must agree.
    """

    name: str
    story: str
    rows: list[Row]
    others: list[Check]

    def checks(self) -> list[Check]:
        """All that must agree."""
        return [*(check for row in self.rows for check in row.checks()), *self.others]


# --- weighing -----------------------------------------------------------------------------------


class Weighed(NamedTuple):
    """The norms of a model's weights by address: read directly, and as their borrowers see them."""

    norms: dict[str, float]
    seen: dict[str, float]


def weigh(model: Any) -> Weighed:
    """Weighs all weights of a model, and asks each layer that borrows one what it sees."""
    import steelyard as sy

    return Weighed(
        {weight.address: norm(weight.numpy()) for weight in sy.weights(model)},
        {lent.target: _seen_by(model, lent.holder) for lent in sy.references(model)},
    )


def _seen_by(model: Any, holder: str) -> float:
    import keras
    import numpy as np

    import steelyard as sy

    layer = model.get_layer(holder)
    if isinstance(layer, sy.layers.WeightAnalyzer):
        # What the model itself puts out: computed in the graph, from the weight of that moment.
        _, norms = model.predict(np.zeros((2, *model.input_shape[1:])), verbose=0)
        return float(norms[0, 0])
    return norm(keras.ops.convert_to_numpy(layer.kernel()))


def norm(array: np.ndarray) -> float:
    """The Euclidean norm, by NumPy in double precision."""
    import numpy as np

    return float(np.linalg.norm(array.astype("float64").ravel()))


def arrays_in(path: Path) -> dict[str, list[np.ndarray]]:
    """The arrays of a `.keras` file by the name of their layer, in their order; without Keras."""
    import zipfile

    import h5py

    with (
        zipfile.ZipFile(path) as archive,
        archive.open("model.weights.h5") as member,
        h5py.File(member) as file,
    ):
        stores = [layer["vars"] for layer in file["layers"].values()]
        return {
            store.attrs["name"]: [store[key][()] for key in sorted(store, key=int)]
            for store in stores
        }


def weigh_file(path: Path) -> dict[str, float]:
    """The norms of all arrays in a file, by the address of the weight that each should be.

    The first array of a layer is its kernel, where it has one of its own; the last is its bias.
    """
    return {
        f"{layer}/{'bias' if array.ndim == 1 else 'kernel'}": norm(array)
        for layer, arrays in arrays_in(path).items()
        for array in arrays
    }


def _weigh_in_fresh_process(paths: list[Path]) -> list[Weighed]:
    command = [sys.executable, "-P", "-m", "steelyard.cli.demo", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise SteelyardError(f"The process that loads the saved models failed: {said}")
    return [Weighed(*one) for one in json.loads(done.stdout.splitlines()[-1])]


def _load_and_weigh(paths: list[str]) -> list[Weighed]:
    import keras

    # Its layers are known to Keras by being imported.
    import steelyard.layers  # noqa: F401

    return [weigh(keras.models.load_model(path)) for path in paths]


# --- the two models -----------------------------------------------------------------------------


class Digits(NamedTuple):
    """Pictures of shape (pictures, 8, 8, 1) with values in [0, 1], and what they show."""

    pictures: np.ndarray
    labels: np.ndarray
    held_out: np.ndarray
    held_out_labels: np.ndarray


def _digits() -> Digits:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    pictures = (data.images / 16)[..., None].astype("float32")
    split = train_test_split(pictures, data.target, test_size=0.2, random_state=0)
    return Digits(split[0], split[2], split[1], split[3])


class Classifier:
    """A convolutional network; its second output is the norm of its first kernel."""

    name = "classifier"

    def __init__(self, digits: Digits) -> None:
        import keras

        import steelyard as sy

        self.digits = digits
        pictures = keras.Input((8, 8, 1), name="pictures")
        conv = keras.layers.Conv2D(8, 3, activation="relu", name="conv")
        features = conv(pictures)
        hidden = keras.layers.Dense(64, activation="relu", name="hidden")
        digit = keras.layers.Dense(10, activation="softmax", name="digit")
        weigh = sy.layers.WeightAnalyzer(conv, metrics="l2_norm", name="weigh")
        outputs = [digit(hidden(keras.layers.Flatten()(features))), weigh(features)]
        self.model = keras.Model(pictures, outputs, name=self.name)

    def fit(self, model: Any, epochs: int, advance: Callable[[], None]) -> None:
        """Trains `model`, which has the shape of this one."""
        model.compile(_adam(), ["sparse_categorical_crossentropy", None])
        _fit(model, self.digits.pictures, self.digits.labels, epochs, advance)

    def story(self) -> str:
        """How good it is."""
        chances, _ = self.model.predict(self.digits.held_out, verbose=0)
        right = float((chances.argmax(-1) == self.digits.held_out_labels).mean())
        return (
            f"{right:.1%} of {len(chances)} digits that it never saw are named right, guessing 10%."
        )

    def checks(self, path: Path) -> list[Check]:
        """Nothing that its weights do not say."""
        return []


class Autoencoder:
    """64 pixels down to 12 numbers and up again, with the kernels of the way down."""

    name = "autoencoder"

    def __init__(self, digits: Digits) -> None:
        import keras

        import steelyard as sy

        self.digits = digits
        pixels = keras.Input((64,), name="pixels")
        down_1 = keras.layers.Dense(32, activation="relu", name="down_1")
        down_2 = keras.layers.Dense(12, name="down_2")
        up_2 = sy.layers.TiedDense(down_2, activation="relu", name="up_2")
        up_1 = sy.layers.TiedDense(down_1, activation="sigmoid", name="up_1")
        self.model = keras.Model(pixels, up_1(up_2(down_2(down_1(pixels)))), name=self.name)

    def fit(self, model: Any, epochs: int, advance: Callable[[], None]) -> None:
        """Trains `model`, which has the shape of this one."""
        pixels = self.digits.pictures.reshape(-1, 64)
        model.compile(_adam(), "mse")
        _fit(model, pixels, pixels, epochs, advance)

    def story(self) -> str:
        """How good it is, and how small."""
        mean = self.digits.pictures.reshape(-1, 64).mean(0)
        size = self.model.count_params()
        return (
            f"64 pixels through 12 numbers and back: squared error {self._error():.4f}, "
            f"guessing {self._error(lambda pixels: mean):.4f}.\n"
            f"{size:,} parameters; with kernels of its own in the decoder, "
            f"{size + 64 * 32 + 32 * 12:,}."
        )

    def checks(self, path: Path) -> list[Check]:
        """That NumPy, from the file and with each kernel used twice, makes the same pictures."""
        import numpy as np

        layers = arrays_in(path)
        (down_1, bias_1), (down_2, bias_2) = layers["down_1"], layers["down_2"]

        def decoded(pixels: np.ndarray) -> np.ndarray:
            code = np.maximum(pixels @ down_1 + bias_1, 0) @ down_2 + bias_2
            wide = np.maximum(code @ down_2.T + layers["up_2"][0], 0)
            return 1 / (1 + np.exp(-(wide @ down_1.T + layers["up_1"][0])))

        # On an accelerator products of matrices are rounded more coarsely than NumPy's.
        what = "autoencoder: error of the model, and of NumPy with the arrays in the file"
        return [Check(what, self._error(), self._error(decoded), within=1e-2)]

    def _error(self, decoded: Callable[[np.ndarray], np.ndarray] | None = None) -> float:
        pixels = self.digits.held_out.reshape(-1, 64)
        made = decoded(pixels) if decoded else self.model.predict(pixels, verbose=0)
        return float(((made - pixels) ** 2).mean())


Trial = Classifier | Autoencoder


def _adam() -> Any:
    import keras

    return keras.optimizers.Adam(3e-3)


def _fit(model: Any, x: Any, y: Any, epochs: int, advance: Callable[[], None]) -> None:
    import keras

    each = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: advance())
    model.fit(x, y, epochs=epochs, batch_size=32, verbose=0, callbacks=[each])


# --- the run ------------------------------------------------------------------------------------

Step = Callable[[str, int], Callable[[], None]]


def run(epochs: int, folder: Path, step: Step) -> list[Result]:
    """Does it all.

    Args:
        epochs: How long to train.
        folder: Where to save.
        step: Called with what begins now and in how many parts; gives what to call after each.
    """
    done = step(f"Start Keras on {os.environ['KERAS_BACKEND']}", 1)
    import keras

    keras.utils.set_random_seed(0)
    digits = _digits()
    trials: list[Trial] = [Classifier(digits), Autoencoder(digits)]
    done()
    paths = [folder / f"{trial.name}.keras" for trial in trials]
    for trial, path in zip(trials, paths, strict=True):
        trial.fit(trial.model, epochs, step(f"Train the {trial.name}, epochs: {epochs}", epochs))
        trial.model.save(path)
    done = step("Load both in a fresh process", 1)
    loaded = _weigh_in_fresh_process(paths)
    done()
    done = step("Weigh, clone and tune the clones", len(trials))
    results = []
    for trial, path, fresh in zip(trials, paths, loaded, strict=True):
        results.append(_result(trial, path, fresh))
        done()
    return results


def _result(trial: Trial, path: Path, loaded: Weighed) -> Result:
    import keras

    import steelyard as sy

    model = trial.model
    stages = {"trained": weigh(model), "loaded": loaded, "NumPy": Weighed(weigh_file(path), {})}
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    stages["cloned"] = weigh(clone)
    trial.fit(clone, 1, lambda: None)
    stages |= {"tuned": weigh(clone), "original": weigh(model)}
    lent_to = {lent.target: lent.holder for lent in sy.references(model)}
    rows = []
    for weight in sy.weights(model):
        at = weight.address
        norms = {stage: now.norms.get(at, math.nan) for stage, now in stages.items()}
        seen = {stage: now.seen[at] for stage, now in stages.items() if at in now.seen}
        rows.append(Row(at, weight.shape, lent_to.get(at, ""), norms, seen))
    checks = [*_counts(trial.name, rows, path), *trial.checks(path)]
    return Result(trial.name, trial.story(), rows, checks)


def _counts(name: str, rows: list[Row], path: Path) -> Iterator[Check]:
    saved = sum(map(len, arrays_in(path).values()))
    moved = sum(row.norms["tuned"] != row.norms["cloned"] for row in rows)
    yield Check(f"{name}: weights, arrays in the file", len(rows), saved)
    yield Check(f"{name}: weights, those that tuning the clone has moved", len(rows), moved)


@contextlib.contextmanager
def _steps() -> Iterator[Step]:
    """What is being done, on stderr: bars on a terminal, a line a step in a pipe."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:

        def line(text: str, parts: int) -> Callable[[], None]:
            console.print(text)
            return lambda: None

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:

        def bar(text: str, parts: int) -> Callable[[], None]:
            task = progress.add_task(text, total=parts)
            return lambda: progress.advance(task)

        yield bar


# --- ink ----------------------------------------------------------------------------------------


def show(results: list[Result], checks: list[Check], console: Console) -> None:
    """Prints the stories, the table and the verdict."""
    for result in results:
        console.print(f"\n[bold]{result.name}[/]\n{result.story}")
    console.print()
    console.print(_table(results, console))
    console.print()
    for stage, meaning in STAGES.items():
        console.print(f"  [bold]{stage:<8}[/] {meaning}")
    console.print()
    wrong = [check for check in checks if not check.agrees]
    for check in wrong:
        console.print(f"[red]{check.what}: {check.left!r} and {check.right!r}[/]", soft_wrap=True)
    console.print(verdict(sum(len(result.rows) for result in results), len(checks), len(wrong)))


def verdict(weights: int, checks: int, wrong: int) -> str:
    """The last sentence."""
    counted = f"{weights} weights, {checks} comparisons"
    if wrong:
        return f"{counted}, {wrong} disagree."
    return (
        f"{counted}, all agree: saving, loading and cloning changed no weight, training the clone "
        f"moved the clone alone, and a layer that borrows a weight saw that weight all along."
    )


def _table(results: list[Result], console: Console) -> Table:
    from rich import box
    from rich.table import Table

    plain = console.options.ascii_only
    gap = int(plain or console.width >= 100)
    rules = None if plain else box.SIMPLE_HEAD
    table = Table(box=rules, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))
    table.add_column("norm of", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    table.add_column("lent to", no_wrap=True)
    for stage in STAGES:
        table.add_column(stage, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for result in results:
        for row in result.rows:
            numbers = [row.norms.get(stage, row.seen.get("tuned")) for stage in STAGES]
            agree = all(check.agrees for check in row.checks())
            table.add_row(
                row.address,
                ("x" if plain else "×").join(map(str, row.shape)),
                row.lent_to,
                *("" if number is None else f"{number:.4f}" for number in numbers),
                ("ok" if plain else "[green]✓[/]") if agree else "[red]no[/]",
            )
        table.add_section()
    return table


if __name__ == "__main__":
    print(json.dumps(_load_and_weigh(sys.argv[1:])))
