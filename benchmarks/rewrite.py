"""What rewriting costs: prints ratios against named peers, each pair measured in one run.

python benchmarks/rewrite.py                 every installed backend, each in its own process
python benchmarks/rewrite.py --backend jax   one of them
python benchmarks/rewrite.py --quick         smaller and fewer, to see that it runs
"""

from collections.abc import Callable

from rounds import alternate, per_backend, show

GOALS = {"by hand": 1.05, "peer": 1.0}


def measure(quick: bool) -> None:
    rounds, steps, width = (3, 2, 64) if quick else (11, 8, 512)
    data = _data(width, batch=128)
    kinds = {"plain": _plain, **_PARAMETRIZED}
    models = {name: _model(make, width) for name, make in kinds.items()}

    def run(model):
        for _ in range(steps):
            model.train_on_batch(data, data)

    ratios = alternate({name: lambda m=m: run(m) for name, m in models.items()}, rounds)
    print(
        f"  training step, 6 dense layers of {width} x {width}, batch 128, compiled as Keras does:"
    )
    for formula in ("spectral norm", "weight norm", "mask"):
        ours, by_hand = f"{formula}, ours", f"{formula}, by hand"
        show(f"{ours} / plain", ratios, ours, "plain")
        show(f"{ours} / the formula by hand", ratios, ours, by_hand, GOALS["by hand"])
    peer = "keras SpectralNormalization"
    show(f"spectral norm, ours / {peer}", ratios, "spectral norm, ours", peer, GOALS["peer"])
    show("tie, ours / a custom layer by hand", ratios, "tie, ours", "tie, by hand", 1.05)
    _torch_peers(width, 128, rounds, 4 * steps)
    _torch_peers(4 * width, 512, rounds, 1)


def _data(width: int, batch: int):
    import numpy as np

    return np.random.default_rng(0).normal(size=(batch, width)).astype("float32")


def _model(make: Callable[[int], list], width: int):
    """Six layers; the makers give them two at a time, since a tie needs two."""
    import keras

    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((width,))
    for _ in range(3):
        for layer in make(width):
            x = layer(x)
    model = keras.Model(inputs, x)
    model.compile("sgd", "mse")
    return model


def _plain(width: int) -> list:
    import keras

    return [keras.layers.Dense(width), keras.layers.Dense(width)]


# --- ours -----------------------------------------------------------------------------------------


def _ours(name: str, **options) -> Callable[[int], list]:
    def make(width: int) -> list:
        import keras

        import steelyard as sy

        def one():
            how = getattr(sy.parametrizations, name)(**options)
            return sy.parametrize(keras.layers.Dense(width), "kernel", how)

        return [one(), one()]

    return make


def _tied(width: int) -> list:
    import keras

    import steelyard as sy

    first, second = keras.layers.Dense(width), keras.layers.Dense(width)
    return [first, sy.tie(second, "kernel", to=first, transform="transpose")]


# --- the same, written by hand --------------------------------------------------------------------


def _by_hand(kind: str) -> Callable[[int], list]:
    def make(width: int) -> list:
        import keras
        from keras import ops

        class ByHand(keras.layers.Layer):
            """A dense layer that knows its formula: the arithmetic, and nothing else."""

            def build(self, shape):
                square = (shape[-1], width)
                self.kernel = self.add_weight(shape=square, name="kernel")
                self.bias = self.add_weight(shape=(width,), initializer="zeros", name="bias")
                if kind == "spectral norm":
                    self.u = self.add_weight(
                        shape=(shape[-1],), trainable=False, initializer="random_normal"
                    )
                if kind == "weight norm":
                    self.g = self.add_weight(shape=(width,), initializer="ones", name="g")
                if kind == "mask":
                    self.keep = self.add_weight(
                        shape=square, dtype="int8", trainable=False, initializer="zeros"
                    )
                    self.keep.assign(keras.random.normal(square) > 0)

            def call(self, x, training=None):
                return ops.matmul(x, self.effective(training)) + self.bias

            def effective(self, training):
                kernel = ops.convert_to_tensor(self.kernel)
                if kind == "weight norm":
                    norm = ops.sqrt(ops.sum(ops.square(kernel), axis=0, keepdims=True))
                    return kernel * (self.g / norm)
                if kind == "mask":
                    # A product with the mask would let through what is not finite.
                    return ops.where(ops.cast(self.keep, "bool"), kernel, 0.0)
                fixed = ops.stop_gradient(kernel)
                u = ops.convert_to_tensor(self.u)
                v = ops.matmul(u, fixed)
                v = v / ops.sqrt(ops.sum(ops.square(v)))
                if training:
                    u = ops.matmul(fixed, v)
                    u = ops.stop_gradient(u / ops.sqrt(ops.sum(ops.square(u))))
                    self.u.assign(u)
                return kernel / ops.sum(u * ops.matmul(kernel, v))

        return [ByHand(), ByHand()]

    return make


def _tied_by_hand(width: int) -> list:
    import keras
    from keras import ops

    first = keras.layers.Dense(width)

    class Decoder(keras.layers.Layer):
        def build(self, shape):
            self.bias = self.add_weight(shape=(width,), initializer="zeros", name="bias")

        def call(self, x):
            return ops.matmul(x, ops.transpose(first.kernel)) + self.bias

    return [first, Decoder()]


def _keras_peer(width: int) -> list:
    import keras

    return [
        keras.layers.SpectralNormalization(keras.layers.Dense(width), power_iterations=1)
        for _ in range(2)
    ]


_PARAMETRIZED = {
    "spectral norm, ours": _ours("SpectralNorm"),
    "spectral norm, by hand": _by_hand("spectral norm"),
    "keras SpectralNormalization": _keras_peer,
    "weight norm, ours": _ours("WeightNorm"),
    "weight norm, by hand": _by_hand("weight norm"),
    "mask, ours": _ours("Mask", sparsity=0.5),
    "mask, by hand": _by_hand("mask"),
    "tie, ours": _tied,
    "tie, by hand": _tied_by_hand,
}


# --- torch's own ----------------------------------------------------------------------------------


def _torch_peers(width: int, batch: int, rounds: int, steps: int) -> None:
    """Forward and backward of one layer, eagerly as torch's own users run it.

    The plain layers stand beside them: what Keras's takes more than torch's is none of ours.
    """
    import keras

    if keras.backend.backend() != "torch":
        return
    import torch
    from torch.nn.utils import parametrizations

    import steelyard as sy

    x = torch.from_numpy(_data(width, batch))

    def ours(how=None):
        layer = keras.layers.Dense(width)
        layer.build((None, width))
        if how is not None:
            sy.parametrize(layer, "kernel", how)

        def run():
            for _ in range(steps):
                layer.zero_grad()
                layer(x, training=True).square().mean().backward()

        return run

    def theirs(wrap=lambda layer: layer):
        layer = wrap(torch.nn.Linear(width, width))

        def run():
            for _ in range(steps):
                layer.zero_grad()
                layer(x).square().mean().backward()

        return run

    candidates = {
        "plain, Dense": ours(),
        "plain, Linear": theirs(),
        "spectral norm, ours": ours(sy.parametrizations.SpectralNorm()),
        "spectral_norm of torch": theirs(parametrizations.spectral_norm),
        "weight norm, ours": ours(sy.parametrizations.WeightNorm()),
        "weight_norm of torch": theirs(parametrizations.weight_norm),
    }
    ratios = alternate(candidates, rounds)
    print(f"  forward and backward of one {width} x {width} layer, eager, batch {batch}:")
    show("plain, Dense of Keras / Linear of torch", ratios, "plain, Dense", "plain, Linear")
    for name in ("spectral", "weight"):
        ours_, peer = f"{name} norm, ours", f"{name}_norm of torch"
        show(f"{ours_} / {peer}", ratios, ours_, peer, GOALS["peer"])


if __name__ == "__main__":
    per_backend(__file__, __doc__, measure)
