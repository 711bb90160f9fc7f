"""Trains every case on two replicas, and on one; prints what came of it."""

import json
import traceback

import numpy as np
import tensorflow as tf
from tests.laws import layer as laws
from tests.laws import zoo


def report(case: zoo.Case, strategy: tf.distribute.Strategy) -> dict:
    x = zoo.inputs()
    one = zoo.randomize(zoo.alone(case))
    laws.train(one, x)
    with strategy.scope():
        two = zoo.randomize(zoo.alone(case))
    was = zoo.values(case, two)
    laws.train(two, x)
    now = zoo.values(case, two)
    return {
        "moved": float(np.abs(now[0] - was[0]).max()),
        "output": zoo.output(two, x).tolist(),
        "should be": zoo.should_be(case, two, x).tolist(),
        "values": np.ravel(now[0]).tolist(),
        "of one": np.ravel(zoo.values(case, one)[0]).tolist(),
    }


def main() -> None:
    said = {}
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for case in zoo.CASES:
        try:
            said[case.name] = report(case, strategy)
        except Exception:
            said[case.name] = {"error": traceback.format_exc()[-3000:]}
    print(json.dumps(said))


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    main()
