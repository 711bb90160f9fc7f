"""Trains the tables of the laws on several devices, and on one; prints what came of each row.

python -m tests.laws.replicas STRATEGY
"""

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from tests.laws import called, digits, strategies, users, zoo
from tests.laws import layer as laws
from tests.laws import parametrized as table

import steelyard as sy

PARAMETRIZED = ("dense spectral", "dense low rank", "dense scheduled mask")


def borrowing(name: str, strategy: Any) -> dict:
    """A row of the zoo."""
    case = zoo.BY_NAME[name]
    x = zoo.inputs(strategy.copies)
    one = zoo.randomize(zoo.alone(case))
    laws.train(one, x)
    with strategy.scope():
        two = zoo.randomize(zoo.alone(case))
        was = zoo.values(case, two)
        laws.train(two, x, by=strategy.fit)
        now = zoo.values(case, two)
        return {
            "moved": float(np.abs(now[0] - was[0]).max()),
            "output": zoo.output(two, x).tolist(),
            "should be": zoo.should_be(case, two, x).tolist(),
            "values": [value.tolist() for value in now],
            "of one": [value.tolist() for value in zoo.values(case, one)],
            **strategy.placed(two),
        }


def parametrized(name: str, strategy: Any) -> dict:
    """A row of the parametrized weights."""
    case = table.BY_NAME[name]
    x = table.inputs(case.kind)
    one = table.after(case)
    table.fit(case, one, epochs=2)
    with strategy.scope():
        two = table.after(case)
        was = table.stored(case, two)
        table.fit(case, two, epochs=2, by=strategy.fit)
        now = table.stored(case, two)
        return {
            "moved": float(np.abs(now[0] - was[0]).max()),
            "output": table.output(two, x).tolist(),
            "should be": table.should_be(case, two, x).tolist(),
            "values": [value.tolist() for value in now],
            "of one": [value.tolist() for value in table.stored(case, one)],
            **strategy.placed(two),
        }


def given(name: str, strategy: Any) -> dict:
    """A model with `sy.call` in it: each device has the rows that one has alone."""
    one = called.randomized(name)
    called.train(one, epochs=1)
    x = np.concatenate([called.inputs()] * strategy.copies)
    with strategy.scope():
        two = called.randomized(name)
        was = {weight.address: weight.numpy() for weight in sy.weights(two)}
        two.compile(keras.optimizers.SGD(0.05), "mse")
        y = np.zeros((len(x), *two.output_shape[1:]), "float32")
        strategy.fit(two, x, y, batch_size=len(x), epochs=1, shuffle=False, verbose=0)
        now = {weight.address: weight.numpy() for weight in sy.weights(two)}
        return {
            "moved": max(float(np.abs(now[at] - was[at]).max()) for at in now),
            "values": [value.tolist() for value in now.values()],
            "of one": [weight.numpy().tolist() for weight in sy.weights(one)],
            **strategy.placed(two),
        }


def penalized(name: str, strategy: Any) -> dict:
    """A step by a penalty alone: the sum of the entries, so that each goes down by the rate."""
    x = np.ones((strategy.copies, 4), "float32")
    with strategy.scope():
        model = users.Penalized()
        model(x)
        model.compile(keras.optimizers.SGD(0.1), None)
        was = keras.ops.convert_to_numpy(model.hidden.kernel)
        done = strategy.fit(model, x, x[:, :3], batch_size=len(x), verbose=0)
        now = keras.ops.convert_to_numpy(model.hidden.kernel)
        return {
            "moved": float(np.abs(now - was).max()),
            "values": [now.tolist()],
            "of one": [(was - 0.1).tolist()],
            "loss": [float(done.history["loss"][0]), float(was.sum())] if done else None,
            **strategy.placed(model),
        }


TABLES: dict[str, Callable[[str, Any], dict]] = {
    "zoo": borrowing,
    "parametrized": parametrized,
    "called": given,
    "penalized": penalized,
    "digits": digits.report,
}
# One row of each kind: of owner, of what is borrowed, of where the borrower computes. What they
# leave out names the owner in another way, which a strategy cannot see.
KINDS = (
    *("analyzer", "tied", "tied embedding", "two owners", "deep in LSTM", "deep in attention"),
    *("own weights", "slice", "tie transposed", "tie to embedding", "tie by function"),
)
# Where each device has all of a weight, as under `MirroredStrategy`, which has all rows: what is
# new is how devices agree, and that does not know the layers.
FEW = ("tied", "two owners", "deep in LSTM", "tie transposed")
ROWS: dict[str, dict[str, tuple[str, ...]]] = {
    "mirrored": {
        "zoo": tuple(zoo.BY_NAME),
        "parametrized": (*PARAMETRIZED, "conv2d spectral"),
        "called": tuple(called.MODELS),
        "penalized": ("entries",),
        "digits": ("monitored", "carried", "measured"),
    },
    # Each row costs two processes; what is new to them is how they agree.
    "workers": {
        "zoo": FEW,
        "parametrized": ("dense spectral", "dense scheduled mask"),
        "called": ("alone",),
        "penalized": ("entries",),
        "digits": ("monitored", "carried", "by_fit", "by_codes"),
    },
    "data": {"zoo": FEW, "penalized": ("entries",), "digits": ("monitored",)},
    "model": {
        "zoo": KINDS,
        "parametrized": PARAMETRIZED,
        "called": ("a_model",),
        "penalized": ("entries",),
        "digits": (
            *("monitored", "carried", "measured", "adapted", "quantized", "large", "analyzed"),
        ),
    },
}


def rows(strategy: str, *tables: str) -> list[tuple[str, str]]:
    """What is trained under a strategy: each row with its table."""
    asked = ROWS[strategy]
    return [(table, row) for table in tables or asked for row in asked.get(table, ())]


def reports(name: str) -> dict[str, dict]:
    """What came of each row, by its table and name."""
    strategy = strategies.STRATEGIES[name]()
    said = {}
    for which, row in rows(name):
        try:
            said[f"{which}: {row}"] = TABLES[which](row, strategy)
        except Exception:
            said[f"{which}: {row}"] = {"error": traceback.format_exc()[-3000:]}
    return said


if __name__ == "__main__":
    print(json.dumps(reports(sys.argv[1])))
