"""Trains a penalty alone on two replicas; prints the weight before and after one step."""

import json

import keras
import numpy as np
import tensorflow as tf
from tests.laws.users import Penalized


def main() -> None:
    x = np.ones((4, 4), "float32")
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = Penalized()
        model(x)
        model.compile(keras.optimizers.SGD(0.1), None)
    was = keras.ops.convert_to_numpy(model.hidden.kernel).tolist()
    history = model.fit(x, x[:, :3], batch_size=4, verbose=0).history
    now = keras.ops.convert_to_numpy(model.hidden.kernel).tolist()
    print(json.dumps({"was": was, "now": now, "loss": history["loss"][0]}))


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    main()
