"""Trains parametrized weights on two replicas, and on one; prints what came of it."""

import json
import sys
import traceback

import numpy as np
import tensorflow as tf
from tests.laws import parametrized as table


def report(case: table.Case, strategy: tf.distribute.Strategy) -> dict:
    x = table.inputs(case.kind)
    one = table.after(case)
    with strategy.scope():
        two = table.after(case)
    was = table.stored(case, two)
    for model in (one, two):
        table.fit(case, model, epochs=2)
    now = table.stored(case, two)
    return {
        "moved": float(np.abs(now[0] - was[0]).max()),
        "output": table.output(two, x, predict=True).tolist(),
        "should be": table.should_be(case, two, x).tolist(),
        "stored": [array.tolist() for array in now],
        "of one": [array.tolist() for array in table.stored(case, one)],
    }


def main(names: list[str]) -> None:
    said = {}
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for name in names:
        try:
            said[name] = report(table.BY_NAME[name], strategy)
        except Exception:
            said[name] = {"error": traceback.format_exc()[-3000:]}
    print(json.dumps(said))


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    main(sys.argv[1:])
