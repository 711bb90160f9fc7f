"""Makes the files of `tests/data/keras`, with an old Keras: of each form that Keras has written.

    python -m pip install --no-deps --target /tmp/old keras==3.0.5 dm-tree attrs
    PYTHONPATH=/tmp/old KERAS_BACKEND=torch python tools/make_old_files.py keras

    python -m pip install --no-deps --target /tmp/older tf_keras
    PYTHONPATH=/tmp/older python tools/make_old_files.py tf_keras         the last of Keras 2

One model for all. Weight number n of `addresses` is filled with n, n + 1/1024, n + 2/1024, …: a
value by itself says of which weight it is, and where in it.
"""

import importlib
import lzma
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1] / "tests" / "data" / "keras"


def built(keras):
    """A model with layers that are named, numbered, nested, wrapped, and that hold others."""
    layers = keras.layers
    x = keras.Input((3, 4))
    y = layers.Dense(4, name="first")(x)
    y = layers.Dense(4, use_bias=False)(layers.Dense(4)(y))
    inner = [layers.Dense(4, name="deep"), layers.BatchNormalization(name="norm", scale=False)]
    y = keras.Sequential([keras.Input((3, 4)), *inner], name="inner")(y)
    y = layers.MultiHeadAttention(2, 2, name="attention")(y, y)
    y = layers.Bidirectional(layers.LSTM(2), name="both")(y)
    return keras.Model(x, layers.Dense(2, name="out")(y))


def addresses(model):
    """Each weight, at the address that it should have."""
    number = [layer for layer in model.layers if layer.name.startswith("dense")]
    inner, attention, both = map(model.get_layer, ("inner", "attention", "both"))
    deep, norm = map(inner.get_layer, ("deep", "norm"))
    attention = {
        name: getattr(attention, f"_{name}_dense") for name in ("query", "key", "value")
    } | {"attention_output": attention._output_dense}
    cells = {f"both/{way}": getattr(both, f"{way}_layer").cell for way in ("forward", "backward")}
    found = {"first/kernel": model.get_layer("first").kernel}
    found |= {"first/bias": model.get_layer("first").bias}
    found |= {f"{number[0].name}/kernel": number[0].kernel}
    found |= {
        f"{number[0].name}/bias": number[0].bias,
        f"{number[1].name}/kernel": number[1].kernel,
    }
    found |= {"inner/deep/kernel": deep.kernel, "inner/deep/bias": deep.bias}
    found |= {
        f"inner/norm/{w}": getattr(norm, w) for w in ("beta", "moving_mean", "moving_variance")
    }
    for name, layer in attention.items():
        found |= {f"attention/{name}/{w}": getattr(layer, w) for w in ("kernel", "bias")}
    for way, cell in cells.items():
        names = ("kernel", "recurrent_kernel", "bias")
        found |= {f"{way}_layer/cell/{w}": getattr(cell, w) for w in names}
    out = model.get_layer("out")
    return found | {"out/kernel": out.kernel, "out/bias": out.bias}


def main(kind: str) -> None:
    """Writes the files of the Keras that is on the path."""
    old = kind == "tf_keras"
    keras = importlib.import_module("tf_keras" if old else "keras")
    model = built(keras)
    found = addresses(model)
    assert len(found) == len(model.weights)
    for number, variable in enumerate(found.values()):
        size = int(np.prod(variable.shape))
        variable.assign((number + np.arange(size) / 1024).reshape(variable.shape))
    FOLDER.mkdir(parents=True, exist_ok=True)
    model.compile("sgd", "mse")
    name = f"{'tf_keras' if old else 'keras'}-{keras.__version__}"
    for ending in (".keras", ".h5") if old else (".keras", ".weights.h5", ".h5"):
        write = model.save_weights if "weights" in ending else model.save
        path = FOLDER / f"{name}{ending}"
        try:
            write(str(path))
            Path(f"{path}.xz").write_bytes(lzma.compress(path.read_bytes()))
        except ValueError as error:  # Keras 3.0 cannot write this model as .h5
            print(f"{path.name}: {error}")
        finally:
            path.unlink(missing_ok=True)
    (FOLDER / "addresses.txt").write_text("\n".join(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
