"""What watching costs: `fit` with `sy.Monitor` beside the same `fit` without, and beside its peers.

python benchmarks/watch.py                 every installed backend, each in its own process
python benchmarks/watch.py --backend jax   one of them
python benchmarks/watch.py --quick         smaller and fewer, to see that it runs

The peers: `keras.callbacks.TensorBoard(histogram_freq=1)`, which writes once an epoch, and wandb's
`watch` on PyTorch, if it is installed.
"""

import statistics
import tempfile
from importlib.util import find_spec

from rounds import alternate, per_backend, show, timed

GOALS = {"norms": 1.03, "spectral": 1.05}


def measure(quick: bool) -> None:
    layers, width, batch = (6, 512, 64) if quick else (25, 1000, 128)
    steps, rounds = (4, 3) if quick else (5, 5)
    each_step(layers, width, batch, steps, rounds)
    if not quick:
        spectral(layers, width, batch)
    each_epoch(layers, width, batch, steps, 3)


class Fits:
    """A dense model, and `fit` on it with callbacks made anew each time."""

    def __init__(self, layers: int, width: int, batch: int) -> None:
        import keras
        import numpy as np

        keras.utils.set_random_seed(0)
        inputs = x = keras.Input((width,))
        for _ in range(layers):
            x = keras.layers.Dense(width, activation="relu")(x)
        self.model = keras.Model(inputs, x)
        self.model.compile("adam", "mse")
        self.batch = batch
        self.data = np.random.default_rng(0).normal(size=(batch, width)).astype("float32")

    def __call__(self, steps: int, *callbacks: object) -> None:
        import numpy as np

        data = np.broadcast_to(self.data, (steps, *self.data.shape)).reshape(-1, len(self.data[0]))
        given = dict(batch_size=self.batch, epochs=1, verbose=0, shuffle=False)
        self.model.fit(data, data, callbacks=list(callbacks), **given)


def each_step(layers: int, width: int, batch: int, steps: int, rounds: int) -> None:
    """Norms and update ratios of all weights at each step, kept in a database."""
    import numpy as np

    import steelyard as sy

    fits = Fits(layers, width, batch)
    count = fits.model.count_params() / 1e6
    print(f"  {layers} dense layers, {count:.1f}M parameters, batch {batch}, Adam:")
    off = dict.fromkeys(("exploding_update", "vanishing_update"), None)

    def watched(metrics: object) -> None:
        with tempfile.TemporaryDirectory() as folder:
            told = dict(every=1, sinks=f"{folder}/run.db", limits=off)
            fits(steps, sy.Monitor(metrics, "**", **told))

    ratios = alternate(
        {
            "plain": lambda: fits(steps),
            "l2_norm": lambda: watched("l2_norm"),
            "both": lambda: watched(("l2_norm", "update_ratio")),
        },
        rounds,
    )
    weight = [np.array(weight) for weight in fits.model.get_weights()]
    read = min(timed(lambda: [np.add.reduce(one.ravel()) for one in weight]) for _ in range(5))
    step = statistics.median(times["plain"] for times in ratios) / steps
    print(f"    a step {1e3 * step:.0f} ms, one read of the weights {1e3 * read:.1f} ms")
    alone(fits, read)
    show("fit with l2_norm of all, each step / plain", ratios, "l2_norm", "plain")
    goal = round(GOALS["norms"] + read / step, 3)
    show("fit with l2_norm and update_ratio / plain", ratios, "both", "plain", goal)


def alone(fits: Fits, read: float) -> None:
    """The callback itself, without a training around it: processor time, which no neighbor adds to.

    The weights move in between, as a step would move them.
    """
    import time

    import steelyard as sy

    off = dict.fromkeys(("exploding_update", "vanishing_update"), None)
    for metrics in (["l2_norm"], ["l2_norm", "update_ratio"]):
        with tempfile.TemporaryDirectory() as folder:
            monitor = sy.Monitor(metrics, "**", 1, f"{folder}/run.db", limits=off)
            monitor.set_model(fits.model)
            monitor.set_params({"steps": None})
            monitor.on_train_begin()
            monitor.on_epoch_begin(0)
            taken = []
            for batch in range(8):
                for variable in fits.model.trainable_variables:
                    variable.assign(variable * 1.001)
                start = time.process_time()
                monitor.on_train_batch_end(batch, {"loss": 1.0})
                taken.append(time.process_time() - start)
            monitor.on_train_end()
        cost = min(taken)
        named = " and ".join(metrics)
        print(f"    processor time a step, {named}: {1e3 * cost:.1f} ms, {cost / read:.1f} reads")


def spectral(layers: int, width: int, batch: int) -> None:
    """The spectral group once in a hundred steps."""
    import steelyard as sy

    fits = Fits(layers, width, batch)
    fits(2)
    step = timed(lambda: fits(10)) / 10
    one = sy.Monitor("spectral", every=lambda step: step % 10 == 0, sinks=None, limits={})
    both = timed(lambda: fits(10, one))
    ratio = 1 + (both - 10 * step) / (100 * step)
    print(f"    spectral group each 100 steps / plain (from one reading) {ratio:26.3f}", end="")
    print(f"   goal at most {GOALS['spectral']}")


def each_epoch(layers: int, width: int, batch: int, steps: int, rounds: int) -> None:
    """Scalars and histograms once an epoch, beside Keras's callback."""
    import keras

    import steelyard as sy

    fits = Fits(layers, width, batch)

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            fits(steps, sy.Monitor("l2_norm", "**", sinks=folder))

    candidates = {"plain": lambda: fits(steps), "ours": ours}
    if find_spec("tensorflow") and keras.backend.backend() == "tensorflow":

        def theirs() -> None:
            with tempfile.TemporaryDirectory() as folder:
                fits(steps, keras.callbacks.TensorBoard(folder, histogram_freq=1))

        candidates["Keras"] = theirs
    if find_spec("wandb") and keras.backend.backend() == "torch":
        candidates["wandb.watch"] = lambda: watched_by_wandb(fits, steps)
    ratios = alternate(candidates, rounds)
    print(f"  an epoch of {steps} such steps, norms and histograms of all weights at its end:")
    for name in candidates:
        if name != "plain":
            show(f"{name} / plain", ratios, name, "plain")


def watched_by_wandb(fits: Fits, steps: int) -> None:
    import wandb

    with tempfile.TemporaryDirectory() as folder:
        settings = wandb.Settings(silent=True)
        with wandb.init(mode="offline", dir=folder, settings=settings) as run:
            run.watch(fits.model, log="all", log_freq=steps)
            fits(steps)
            run.log({"done": 1})
            run.unwatch(fits.model)


if __name__ == "__main__":
    per_backend(__file__, __doc__, measure)
