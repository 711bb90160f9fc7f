"""What reaching costs: prints ratios against named peers, each pair measured in one run.

python benchmarks/reach.py                 every installed backend, each in its own process
python benchmarks/reach.py --backend jax   one of them
python benchmarks/reach.py --quick         smaller and fewer, to see that it runs
"""

import statistics

from rounds import alternate, per_backend, show, timed

GOALS = {"analyzers": 1.05, "read": 1.02}


def measure(quick: bool) -> None:
    listing()
    training(layers=10 if quick else 50, rounds=3 if quick else 9, steps=2 if quick else 4)
    reading(rounds=5 if quick else 15, steps=10 if quick else 40)


# --- listing ------------------------------------------------------------------------------------


def listing() -> None:
    """`sy.weights` on models of 1,250, 2,500 and 5,000 weights, and on ResNet50."""
    import keras

    def model(weights: int) -> keras.Model:
        # In blocks: Keras's own recursion ends at about a thousand layers in a row.
        blocks = [
            keras.Sequential([keras.Input((2,)), *(keras.layers.Dense(2) for _ in range(125))])
            for _ in range(weights // 250)
        ]
        return keras.Sequential([keras.Input((2,)), *blocks])

    for size in (1250, 2500, 5000):
        report_time(f"sy.weights, {size} weights", model(size))
    resnet = keras.applications.ResNet50(weights=None)
    report_time("sy.weights, ResNet50 (320 weights)", resnet)


def report_time(what: str, model: object) -> None:
    import steelyard as sy

    times = [timed(lambda: sy.weights(model)) for _ in range(8)][1:]
    print(f"  {what:<52} {1e3 * statistics.median(times):8.1f} ms")


# --- training -----------------------------------------------------------------------------------


def training(layers: int, rounds: int, steps: int) -> None:
    """A step with an analyzer on each layer, beside: none; and the same norms, written by hand."""
    import keras
    import numpy as np

    import steelyard as sy
    from steelyard.metrics import l2_norm

    width, batch = 707, 64

    class NormedDense(keras.layers.Dense):
        """A dense layer that also gives the norm of its own kernel: the arithmetic, no reach."""

        def call(self, inputs, training=None):
            norm = l2_norm(self._kernel.value, keras.ops)
            rows = keras.ops.shape(inputs)[0]
            return super().call(inputs), keras.ops.broadcast_to(norm[None, None], (rows, 1))

        def compute_output_shape(self, input_shape):
            return (*input_shape[:-1], self.units), (input_shape[0], 1)

    def build(kind: str) -> keras.Model:
        keras.utils.set_random_seed(0)
        inputs = x = keras.Input((width,))
        norms = []
        for _ in range(layers):  # of 500,000 parameters each
            if kind == "by hand":
                x, norm = NormedDense(width)(x)
                norms.append(norm)
            else:
                layer = keras.layers.Dense(width)
                x = layer(x)
                if kind == "analyzers":
                    norms.append(sy.layers.WeightAnalyzer(layer)(x))
        outputs = {"y": x}
        if norms:
            outputs["norms"] = keras.layers.Concatenate()(norms)
        model = keras.Model(inputs, outputs)
        model.compile("sgd", loss={"y": "mse"})
        return model

    data = np.random.default_rng(0).normal(size=(batch, width)).astype("float32")
    target = {"y": data}
    models = {kind: build(kind) for kind in ("plain", "by hand", "analyzers")}
    count = models["plain"].count_params() / 1e6

    def run(model: keras.Model) -> None:
        for _ in range(steps):
            model.train_on_batch(data, target)

    ratios = alternate({kind: lambda m=m: run(m) for kind, m in models.items()}, rounds)
    print(f"  training step, {layers} dense layers, {count:.1f}M parameters, batch {batch}:")
    show("norms by hand / plain (the arithmetic itself)", ratios, "by hand", "plain")
    show(f"{layers} analyzers / plain", ratios, "analyzers", "plain")
    show(f"{layers} analyzers / norms by hand", ratios, "analyzers", "by hand", GOALS["analyzers"])


def reading(rounds: int, steps: int) -> None:
    """A compiled step that reads a reference, beside one that reads the layer's own variable."""
    import keras
    import numpy as np

    import steelyard as sy

    width, batch, depth = 256, 64, 8

    class Own(keras.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")

        def call(self, x):
            return keras.ops.matmul(x, self.kernel)

    class Borrowed(sy.layers.Borrower):
        def __init__(self, of, **kwargs):
            super().__init__(**kwargs)
            self.kernel = self.borrow(of)

        def call(self, x):
            return keras.ops.matmul(x, self.kernel())

    def build(borrow: bool) -> keras.Model:
        keras.utils.set_random_seed(0)
        inputs = x = keras.Input((width,))
        for _ in range(depth):
            owner = Own()
            x = owner(x)
            # The peer uses the same variable once more, from the inside.
            x = Borrowed(owner)(x) if borrow else owner(x)
        model = keras.Model(inputs, x)
        model.compile("sgd", "mse")
        return model

    data = np.random.default_rng(0).normal(size=(batch, width)).astype("float32")
    models = {"own": build(False), "reference": build(True)}

    def run(model: keras.Model) -> None:
        for _ in range(steps):
            model.train_on_batch(data, data)

    ratios = alternate({kind: lambda m=m: run(m) for kind, m in models.items()}, rounds)
    print(f"  training step that reads {depth} kernels twice:")
    show("through references / own variables", ratios, "reference", "own", GOALS["read"])


if __name__ == "__main__":
    per_backend(__file__, __doc__, measure)
