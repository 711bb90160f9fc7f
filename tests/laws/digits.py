"""A model of scikit-learn's digits with everything in it, on several devices and on one."""

import functools
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

import steelyard as sy

IMAGES, LABELS = load_digits(return_X_y=True)
IMAGES, LABELS = (IMAGES[:128] / 16).astype("float32"), LABELS[:128].astype("int32")
ALWAYS = ("l2_norm", "max_abs", "mean", "update_ratio", "distance_from_init")


def made() -> keras.Model:
    """An owner, a layer tied to it, a parametrized one, a penalty and a penalized weight."""
    keras.utils.set_random_seed(3)
    x = keras.Input((64,), name="pixels")
    hidden = layers.Dense(32, "relu", name="hidden")
    y = hidden(x)
    subject = layers.Dense(32, "tanh", name="subject")
    sy.parametrize(subject, "kernel", sy.parametrizations.WeightNorm())
    back = sy.tie(layers.Dense(64, "relu", name="scan"), "kernel", to=sy.ref(hidden).T)
    y = layers.Dense(10, name="head")(back(subject(y)))
    y = sy.layers.WeightPenalty(hidden, "l1", 1e-3, name="penalty")(y)
    return sy.penalize(keras.Model(x, y, name="digits"), "head/kernel", "l2")


def fit(model: keras.Model, by: Callable[..., Any], *callbacks: Any, epochs: int = 2) -> Any:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    told = dict(epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks))
    return by(model, IMAGES, LABELS, batch_size=64, **told)


class Watched(NamedTuple):
    """A training with a `Monitor`, and with numbers about an owner in its logs."""

    model: keras.Model
    monitor: sy.Monitor
    history: dict[str, list[float]] | None
    wrote: bool


def watched(by: Callable[..., Any], metrics: tuple[str, ...]) -> Watched:
    model = with_analyzer(made())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.db"
        monitor = sy.Monitor(metrics, "**/kernel", every=1, sinks=path, on_error="raise")
        done = fit(model, by, monitor)
        wrote = path.exists()
    return Watched(model, monitor, done.history if done else None, wrote)


@functools.cache
def on_one(gradients: bool = False) -> Watched:
    """The training that all others are held against."""
    return watched(keras.Model.fit, ALWAYS + ("gradient_norm",) * gradients)


def with_analyzer(model: keras.Model) -> keras.Model:
    """Whoever only holds the layer logs its numbers."""
    hidden = model.get_layer("hidden")
    model.gauge = sy.layers.WeightAnalyzer(hidden, log=True, name="gauge")
    return model


# --- What is compared -----------------------------------------------------------------------------


def values(model: keras.Model) -> dict[str, np.ndarray]:
    return {weight.address: weight.numpy() for weight in sy.weights(model)}


def computed(model: keras.Model) -> dict[str, np.ndarray]:
    """The weights and an output."""
    output = np.asarray(keras.ops.convert_to_numpy(model(IMAGES[:16])))
    return {**values(model), "output": output}


def numbers(readings: sy.Readings) -> dict[str, Any]:
    return {f"{one.address} {one.metric} {one.status}": one.value for one in readings}


def pairs(got: dict[str, Any], wanted: dict[str, Any], what: str = "") -> dict[str, list]:
    """What is to be equal, by name, as JSON takes it."""
    assert got.keys() == wanted.keys(), got.keys() ^ wanted.keys()
    plain = functools.partial(keras.tree.map_structure, lambda x: getattr(x, "tolist", lambda: x)())
    return {f"{what}{name}": [plain(got[name]), plain(wanted[name])] for name in got}


# --- What is looked at ----------------------------------------------------------------------------


def monitored(strategy: Any) -> dict:
    """The readings are those on one device; a clone that nobody watches trains to the same bits."""
    one = on_one(strategy.shows_gradients)
    with strategy.scope():
        metrics = tuple(one.monitor.readings.info["metrics"])
        model, monitor, history, wrote = watched(strategy.fit, metrics)
        start = made()
        twin = with_analyzer(sy.clone_model(start))
        sy.copy_weights(start, twin)
        fit(twin, strategy.fit)
        there = values(twin)
        same = all(np.array_equal(value, there[at]) for at, value in values(model).items())
        return {
            "same": same,
            "wrote": wrote,
            "pairs": pairs(values(model), values(one.model))
            | pairs(numbers(monitor.readings), numbers(one.monitor.readings))
            | (pairs(history, one.history, "log ") if history else {}),
            **strategy.placed(twin),
        }


def carried(strategy: Any) -> dict:
    """Values of one device and of its file, put into several; saved by these, loaded by both."""
    wanted = computed(on_one().model)
    with tempfile.TemporaryDirectory() as folder:
        path, first = Path(folder) / "several.keras", Path(folder) / "one.keras"
        sy.save_model(on_one().model, first)
        with strategy.scope():
            model = made()
            sy.copy_weights(first, model, select="**/bias")
            sy.copy_weights(on_one().model, model)
            sy.save_model(model, path)
            again = sy.load_model(path)
            found = pairs(computed(model), wanted) | pairs(computed(again), wanted, "loaded: ")
            placed = strategy.placed(model)
            for key, more in strategy.placed(again).items():
                placed[key] += more
        one = made()
        sy.copy_weights(model, one)
        back = pairs(computed(one), wanted, "back: ")
        return {
            "pairs": found | back | pairs(computed(sy.load_model(path)), wanted, "on one: "),
            **placed,
        }


def measured(strategy: Any) -> dict:
    """What `sy.measure` and `sy.call` say, whole and in blocks."""
    asked = ["norms", "values", "spectral_norm"]
    one = on_one().model
    with strategy.scope():
        model = made()
        sy.copy_weights(one, model)
        kernel = np.full((64, 10), 0.1, "float32")
        called = [
            np.asarray(sy.call(which, IMAGES[:16], weights={"head/kernel": kernel}))
            for which in (model, one)
        ]
        small = dict(metrics=["norms"], select=["hidden/kernel", "head/kernel"], max_memory=5000)
        blocks = [numbers(sy.measure(which, **small)) for which in (model, one)]
        return {
            "pairs": pairs(numbers(sy.measure(model, asked)), numbers(sy.measure(one, asked)))
            | pairs({"call": called[0]}, {"call": called[1]})
            | pairs(*blocks, "blocks: "),
            **strategy.placed(model),
        }


def adapted(strategy: Any) -> dict:
    """An owner with LoRA, trained."""

    def trained(by: Callable[..., Any]) -> keras.Model:
        model = made()
        keras.utils.set_random_seed(5)
        model.get_layer("hidden").enable_lora(2)
        fit(model, by, epochs=1)
        return model

    one = trained(keras.Model.fit)
    with strategy.scope():
        model = trained(strategy.fit)
        return {"pairs": pairs(computed(model), computed(one)), **strategy.placed(model)}


def quantized(strategy: Any) -> dict:
    """An owner in int8, read by the layer that is tied to it."""
    one = made()
    one.get_layer("hidden").quantize("int8")
    with strategy.scope():
        model = made()
        model.get_layer("hidden").quantize("int8")
        return {"pairs": pairs(computed(model), computed(one)), **strategy.placed(model)}


def large(strategy: Any) -> dict:
    """How much the host has of a weight of 4 MB: while it is measured, and afterwards."""
    with strategy.scope():
        x = keras.Input((1000,))
        model = keras.Model(x, layers.Dense(1000, name="subject")(x))
        sy.measure(model, "norms", max_memory="2 MB")  # compiled
        tracemalloc.start()
        sy.measure(model, "norms", max_memory="2 MB", select="**/kernel")
        _, in_blocks = tracemalloc.get_traced_memory()
        readings = sy.measure(model, "norms", select="**/kernel")
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        whole = {"l2_norm": readings["subject/kernel", "l2_norm"].value}
        kernel = np.asarray(model.get_layer("subject").kernel.value, "float64")
        wanted = {"l2_norm": np.linalg.norm(kernel)}
        return {
            "pairs": pairs(whole, wanted),
            "kept": kept,
            "in blocks": in_blocks,
            **strategy.placed(model),
        }


def analyzed(strategy: Any) -> dict:
    """The program of a `WeightAnalyzer`: whether it puts a weight together on one device."""
    import jax

    names = ("l2_norm", "l1_norm", "max_abs", "mean", "std")
    with strategy.scope():
        owner = layers.Dense(32, name="hidden")
        x = keras.Input((64,))
        analyzer = sy.layers.WeightAnalyzer(owner, names)
        model = keras.Model(x, [owner(x), analyzer(x)])
        state = [[v.value for v in held] for held in (model.trainable_variables, [])]
        program = jax.jit(lambda *given: model.stateless_call(*given)[0][1])
        images = jax.numpy.asarray(IMAGES[:16])
        text = program.lower(*state, images).compile().as_text()
        row = np.asarray(program(*state, images))[0]
        kernel = np.asarray(owner.kernel.value)
        wanted = {name: float(getattr(sy.metrics, name)(kernel)) for name in names}
        found = pairs(dict(zip(names, row, strict=True)), wanted)
        return {
            "pairs": found | pairs(analyzer.read(), wanted, "read: "),
            "gathers": "all-gather" in text,
            "reduces": "all-reduce" in text,
            **strategy.placed(model),
        }


def by_fit(strategy: Any) -> dict:
    """Whether Keras's own `fit` trains a plain model of Keras's."""
    with strategy.scope():
        model = keras.Sequential([keras.Input((64,)), layers.Dense(10)])
        keras.Model.compile(model, "sgd", "mse")
        model.fit(IMAGES, np.zeros((len(IMAGES), 10), "float32"), batch_size=64, verbose=0)
    return {}


def by_codes(strategy: Any) -> dict:
    """Whether a plain layer of Keras's can be quantized."""
    with strategy.scope():
        layer = layers.Dense(10)
        layer.build((None, 64))
        layer.quantize("int8")
    return {}


REPORTS = {
    report.__name__: report
    for report in (
        *(monitored, carried, measured, adapted, quantized),
        *(large, analyzed, by_fit, by_codes),
    )
}


def report(name: str, strategy: Any) -> dict:
    return REPORTS[name](strategy)
