"""A model of scikit-learn's digits with everything in it, on several devices and on one."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

import steelyard as sy

IMAGES, LABELS = load_digits(return_X_y=True)
IMAGES, LABELS = (IMAGES[:128] / 16).astype("float32"), LABELS[:128].astype("int32")
METRICS = ["l2_norm", "max_abs", "mean", "stable_rank", "update_ratio", "gradient_norm"]


def made() -> keras.Model:
    """An owner, a layer tied to it, a parametrized one, and a penalty."""
    keras.utils.set_random_seed(3)
    x = keras.Input((64,), name="pixels")
    hidden = layers.Dense(32, "relu", name="hidden")
    y = hidden(x)
    y = sy.parametrize(layers.Dense(32, "tanh", name="subject"), "kernel", _norm())(y)
    back = sy.tie(layers.Dense(64, "relu", name="scan"), "kernel", to=sy.ref(hidden).T)
    head = layers.Dense(10, name="head")
    y = sy.layers.WeightPenalty([hidden, head], "l2", 1e-3, name="penalty")(head(back(y)))
    return keras.Model(x, y, name="digits")


def _norm() -> Any:
    return sy.parametrizations.WeightNorm()


def compiled(model: keras.Model) -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    return model


def fit(model: keras.Model, by: Callable[..., Any], *callbacks: Any) -> Any:
    compiled(model)
    told = dict(epochs=2, shuffle=False, verbose=0, callbacks=list(callbacks))
    return by(model, IMAGES, LABELS, batch_size=64, **told)


def values(model: keras.Model) -> dict[str, np.ndarray]:
    return {weight.address: weight.numpy() for weight in sy.weights(model)}


def pairs(got: dict[str, Any], wanted: dict[str, Any], what: str = "") -> dict[str, list]:
    """What is to be compared, by name, as JSON takes it."""
    assert got.keys() == wanted.keys()
    return {f"{what}{at}": [_plain(got[at]), _plain(wanted[at])] for at in got}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def output(model: keras.Model) -> dict[str, np.ndarray]:
    return {"output": np.asarray(keras.ops.convert_to_numpy(model(IMAGES[:16])))}


def readings(of: sy.Readings) -> dict[str, float | None]:
    return {f"{one.address} {one.metric}": one.value for one in of}


# --- What is looked at ----------------------------------------------------------------------------


def monitored(strategy: Any) -> dict:
    """The readings of a training are those on one device; and it is the same without them."""
    told, seen, logged = [], [], []
    for scope, by in ((None, keras.Model.fit), (strategy.scope, strategy.fit)):
        with scope() if scope else tempfile.SpooledTemporaryFile():
            monitor = sy.Monitor(METRICS, "**/kernel", every=1, on_error="raise")
            model = made()
            model.gauge = sy.layers.WeightAnalyzer(model.get_layer("hidden"), log=True, name="at")
            done = fit(model, by, monitor)
            told.append(readings(monitor.readings))
            seen.append(values(model))
            logged.append(done.history if done else None)
    with strategy.scope():
        plain = made()
        plain.gauge = sy.layers.WeightAnalyzer(plain.get_layer("hidden"), log=True, name="at")
        fit(plain, strategy.fit)
        same = all(np.array_equal(a, seen[1][at]) for at, a in values(plain).items())
        logs = logged[1] or logged[0]
        return {
            "same without": same,
            "pairs": {
                **pairs(seen[1], seen[0]),
                **pairs(told[1], told[0]),
                **pairs(logs, logged[0], "log "),
            },
            **placed(strategy, model),
        }


def saved(strategy: Any) -> dict:
    """Saved under the strategy, loaded under it and without it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        with strategy.scope():
            model = made()
            fit(model, strategy.fit)
            wanted = {**values(model), **output(model)}
            sy.save_model(model, path)
            again = sy.load_model(path)
            there = {**values(again), **output(again)}
            fit(again, strategy.fit)
            here = placed(strategy, again)
        one = sy.load_model(path)
        return {
            "pairs": {
                **pairs(there, wanted),
                **pairs({**values(one), **output(one)}, wanted, "on one "),
            },
            **here,
        }


def copied(strategy: Any) -> dict:
    """Values of a model on one device, put into one on several."""
    one = made()
    fit(one, keras.Model.fit)
    with strategy.scope():
        model = made()
        sy.copy_weights(one, model)
        return {
            "pairs": pairs({**values(model), **output(model)}, {**values(one), **output(one)}),
            **placed(strategy, model),
        }


def cloned(strategy: Any) -> dict:
    """A clone of a model on several devices trains as the model does."""
    one = made()
    fit(one, keras.Model.fit)
    with strategy.scope():
        twin = sy.clone_model(made())
        sy.copy_weights(made(), twin)
        fit(twin, strategy.fit)
        return {"pairs": pairs(values(twin), values(one)), **placed(strategy, twin)}


def measured(strategy: Any) -> dict:
    """What `sy.measure` and `sy.call` say of a model on several devices."""
    asked = ["norms", "spectral", "values"]
    one = made()
    with strategy.scope():
        model = made()
        kernel = np.full(model.get_layer("head").kernel.shape, 0.1, "float32")
        called = [
            np.asarray(sy.call(which, IMAGES[:16], weights={"head/kernel": kernel}))
            for which in (model, one)
        ]
        return {
            "pairs": {
                **pairs(readings(sy.measure(model, asked)), readings(sy.measure(one, asked))),
                "call": [_plain(called[0]), _plain(called[1])],
            },
            **placed(strategy, model),
        }


def adapted(strategy: Any) -> dict:
    """An owner with LoRA, trained."""
    models = []
    for scope, by in ((None, keras.Model.fit), (strategy.scope, strategy.fit)):
        with scope() if scope else tempfile.SpooledTemporaryFile():
            model = made()
            keras.utils.set_random_seed(5)
            model.get_layer("hidden").enable_lora(2)
            fit(model, by)
            models.append({**values(model), **output(model)})
    with strategy.scope():
        return {"pairs": pairs(models[1], models[0]), **placed(strategy, model)}


def quantized(strategy: Any) -> dict:
    """An owner in int8."""
    one = made()
    one.quantize("int8")
    with strategy.scope():
        model = made()
        model.quantize("int8")
        return {
            "pairs": pairs({**values(model), **output(model)}, {**values(one), **output(one)}),
            **placed(strategy, model),
        }


REPORTS = {
    report.__name__: report
    for report in (monitored, saved, copied, cloned, measured, adapted, quantized)
}


def placed(strategy: Any, model: keras.Model) -> dict:
    """Where the weights are."""
    return {"misplaced": strategy.misplaced(model), "spread": strategy.spread(model)}


def report(name: str, strategy: Any) -> dict:
    return REPORTS[name](strategy)
