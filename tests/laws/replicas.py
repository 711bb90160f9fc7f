"""Trains the tables of the laws on several devices, and on one; prints what came of each row.

    python -m tests.laws.replicas STRATEGY [TABLE ...]
"""

import json
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from tests.laws import called, digits, strategies, users, zoo
from tests.laws import layer as laws
from tests.laws import parametrized as table

import steelyard as sy

PARAMETRIZED = ("dense spectral", "dense low rank", "dense scheduled mask", "conv2d spectral")


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
            **placed(strategy, two),
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
            **placed(strategy, two),
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
            **placed(strategy, two),
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
            "loss": float(done.history["loss"][0]) if done else None,
            "loss of one": float(was.sum()),
            **placed(strategy, model),
        }


def placed(strategy: Any, model: keras.Model) -> dict:
    """Where the weights are."""
    return {"misplaced": strategy.misplaced(model), "spread": strategy.spread(model)}


TABLES: dict[str, tuple[Callable[[str, Any], dict], tuple[str, ...]]] = {
    "zoo": (borrowing, tuple(zoo.BY_NAME)),
    "parametrized": (parametrized, PARAMETRIZED),
    "called": (given, tuple(called.MODELS)),
    "penalized": (penalized, ("entries",)),
    "digits": (digits.report, tuple(digits.REPORTS)),
}


def rows(strategy: Any, tables: list[str]) -> dict[str, dict[str, dict]]:
    said: dict[str, dict[str, dict]] = {}
    for which in tables or TABLES:
        report, names = TABLES[which]
        said[which] = {}
        for name in names:
            begin=time.process_time()
            try:
                said[which][name] = report(name, strategy)
            except Exception:
                said[which][name] = {"error": traceback.format_exc()[-3000:]}
            print(which, name, time.process_time()-begin, said[which][name].get("error",""), file=sys.stderr)
    return said


def main(name: str, tables: list[str]) -> None:
    if name == "workers" and not strategies.among_others():
        mine, other = strategies.as_workers(["-m", "tests.laws.replicas", name, *tables])
        for which, said in mine.items():
            for row in said:
                said[row]["other"] = other[which][row]
        print(json.dumps(mine))
        return
    print(json.dumps(rows(strategies.STRATEGIES[name](), tables)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
