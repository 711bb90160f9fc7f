"""No finding on a healthy model."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import steelyard as sy

X = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
TOKENS = np.arange(12).reshape(2, 6) % 11

apps = keras.applications
APPLICATIONS = [
    (apps.VGG16, 32),
    (apps.VGG19, 32),
    (apps.MobileNet, 32),
    (apps.MobileNetV2, 32),
    (apps.MobileNetV3Small, 32),
    (apps.MobileNetV3Large, 32),
    (apps.EfficientNetB0, 32),
    (apps.EfficientNetB1, 32),
    (apps.EfficientNetB2, 32),
    (apps.EfficientNetV2B0, 32),
    (apps.EfficientNetV2B1, 32),
    (apps.ResNet50, 32),
    (apps.ResNet50V2, 32),
    (apps.ResNet101, 32),
    (apps.ResNet101V2, 32),
    (apps.DenseNet121, 32),
    (apps.InceptionV3, 75),
    (apps.Xception, 71),
    (apps.ConvNeXtTiny, 32),
    (apps.ConvNeXtSmall, 32),
]


@pytest.mark.in_turn
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="the audit reads structure, which no backend changes; TensorFlow builds it quickest",
)
@pytest.mark.parametrize(
    ("make", "side"), APPLICATIONS, ids=lambda x: getattr(x, "__name__", "side")
)
def test_an_application(make, side):
    assert sy.audit(make(weights=None, input_shape=(side, side, 3), classes=5)) == []


# --- blocks as KerasHub and the guides write them -------------------------------------------------


class DecoderBlock(layers.Layer):
    """Sublayers that are made in `build`."""

    def __init__(self, width, heads, rate=0.1, **kwargs):
        super().__init__(**kwargs)
        self.width, self.heads, self.rate = width, heads, rate

    def build(self, shape):
        self._attention = layers.MultiHeadAttention(self.heads, 2, name="self_attention")
        self._attention.build(shape, shape)
        self._attention_norm = layers.LayerNormalization(name="attention_norm")
        self._attention_norm.build(shape)
        self._up = layers.Dense(self.width, activation="gelu", name="up")
        self._up.build(shape)
        self._down = layers.Dense(shape[-1], name="down")
        self._down.build((*shape[:-1], self.width))
        self._norm = layers.LayerNormalization(name="norm")
        self._norm.build(shape)
        self._dropout = layers.Dropout(self.rate)
        self.built = True

    def call(self, x, training=None):
        x = x + self._attention(self._attention_norm(x), x, use_causal_mask=True)
        return x + self._dropout(self._down(self._up(self._norm(x))), training=training)

    def get_config(self):
        config = {"width": self.width, "heads": self.heads, "rate": self.rate}
        return {**super().get_config(), **config}


class Backbone(keras.Model):
    """A functional model with a constructor of its own, as KerasHub's backbones are."""

    def __init__(self, vocabulary, width, depth, **kwargs):
        embedding = layers.ReversibleEmbedding(vocabulary, width, name="token_embedding")
        blocks = [DecoderBlock(8, 2, name=f"block_{i}") for i in range(depth)]
        tokens = keras.Input((None,), dtype="int32", name="tokens")
        x = embedding(tokens)
        for block in blocks:
            x = block(x)
        super().__init__(tokens, embedding(x, reverse=True), **kwargs)
        self.embedding, self.blocks = embedding, blocks
        self.vocabulary, self.width, self.depth = vocabulary, width, depth

    def get_config(self):
        return {"vocabulary": self.vocabulary, "width": self.width, "depth": self.depth}


class Subclassed(keras.Model):
    def __init__(self, depth=2, **kwargs):
        super().__init__(**kwargs)
        self.depth = depth
        self.table = layers.Embedding(11, 4)
        self.blocks = [DecoderBlock(8, 2) for _ in range(depth)]
        self.heads = {"a": layers.Dense(2), "b": (layers.Dense(3), layers.Dropout(0.1))}

    def call(self, tokens):
        x = self.table(tokens)
        for block in self.blocks:
            x = block(x)
        return self.heads["a"](x), self.heads["b"][0](x)


class Autoencoder(keras.Model):
    """A VAE as on keras.io: a `train_step`, metrics and a source of randomness of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        inputs, code = keras.Input((6,)), keras.Input((2,))
        hidden = layers.Dense(5, activation="relu")(inputs)
        self.encoder = keras.Model(inputs, [layers.Dense(2)(hidden), layers.Dense(2)(hidden)])
        self.decoder = keras.Model(code, layers.Dense(6)(code))
        self.seeds = keras.random.SeedGenerator(1)
        self.total = keras.metrics.Mean(name="total")

    def call(self, x):
        mean, log_var = self.encoder(x)
        noise = keras.random.normal(ops.shape(mean), seed=self.seeds)
        self.add_loss(-0.5 * ops.mean(1 + log_var - mean**2 - ops.exp(log_var)))
        return self.decoder(mean + ops.exp(0.5 * log_var) * noise)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        self.total.update_state(loss)
        return loss


class Gan(keras.Model):
    """Two optimizers; the combined model is a view of the two parts."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.generator = keras.Sequential([keras.Input((2,)), layers.Dense(6)])
        self.judge = keras.Sequential([keras.Input((6,)), layers.Dense(4), layers.Dense(1)])
        noise = keras.Input((2,))
        self.combined = keras.Model(noise, self.judge(self.generator(noise)))

    def compile(self, one, two, **kwargs):
        super().compile(**kwargs)
        self.one, self.two = one, two
        self.one.build(self.generator.trainable_variables)
        self.two.build(self.judge.trainable_variables)

    def call(self, x):
        return self.judge(x)


class RegularizedInCall(layers.Layer):
    """Keeps a regularizer and applies it itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.kernel_regularizer = keras.regularizers.L2(0.1)

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3), name="kernel")
        self.gain = self.add_weight(shape=(), name="gain", regularizer="l2")

    def call(self, x):
        self.add_loss(self.kernel_regularizer(self.kernel))
        return ops.matmul(x, self.kernel) * self.gain


class ToldShape(layers.Layer):
    """Keras puts it into a graph without running its `call`, where its parts are built."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = [layers.Dense(3), layers.Dense(3)]

    def call(self, x):
        return self.parts[1](self.parts[0](x))

    def compute_output_shape(self, shape):
        return (*shape[:-1], 3)


class Pretrained(layers.Layer):
    """Keeps the array that its weight began with, a mask, and a handle on the model."""

    def __init__(self, matrix, **kwargs):
        super().__init__(**kwargs)
        self.matrix = matrix
        self.mask = np.eye(3, dtype="float32")

    def build(self, shape):
        self.table = self.add_weight(
            shape=self.matrix.shape, initializer=keras.initializers.Constant(self.matrix)
        )

    def call(self, x):
        return ops.matmul(ops.matmul(x, self.table), self.mask)


def backbone():
    return Backbone(11, 4, 2, name="backbone")


def subclassed():
    model = Subclassed()
    model(TOKENS)
    return model


def autoencoder():
    model = Autoencoder()
    model.compile("adam", "mse")
    model.fit(X, X, verbose=0)
    return model


def gan():
    model = Gan()
    model.compile(keras.optimizers.Adam(), keras.optimizers.Adam(), loss="mse")
    model(X)
    return model


def lora():
    model = backbone()
    for block in model.blocks:
        block._attention.query_dense.enable_lora(2)
        block._up.enable_lora(2)
    return model


def quantized():
    model = dense_model(kernel_regularizer="l2", kernel_constraint="non_neg")
    model.quantize("int8")
    return model


def dense_model(**kwargs):
    inputs = keras.Input((6,))
    x = layers.Dense(5, name="one", **kwargs)(inputs)
    return keras.Model(inputs, layers.Dense(3, name="two")(layers.BatchNormalization()(x)))


def every_regularizer():
    image = keras.Input((8, 8, 3))
    l2, unit = "l2", "unit_norm"
    x = layers.SeparableConv2D(4, 3, depthwise_regularizer=l2, pointwise_regularizer=l2)(image)
    x = layers.DepthwiseConv2D(2, depthwise_regularizer=l2, depthwise_constraint=unit)(x)
    x = layers.BatchNormalization(gamma_regularizer=l2, beta_constraint="non_neg")(x)
    x = layers.PReLU(alpha_regularizer=l2)(x)
    x = layers.Reshape((25, 4))(x)
    x = layers.MultiHeadAttention(2, 2, kernel_regularizer=l2, bias_constraint=unit)(x, x)
    lstm = layers.LSTM(3, kernel_regularizer=l2, recurrent_constraint=unit, use_bias=False)
    x = layers.Bidirectional(lstm)(x)
    return keras.Model(image, layers.Dense(2, use_bias=False, bias_regularizer=l2)(x))


def recurrent():
    inputs = keras.Input((5, 6))
    x = layers.RNN([layers.GRUCell(3), layers.LSTMCell(4)], return_sequences=True)(inputs)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x)
    x = layers.TimeDistributed(keras.Sequential([layers.Dense(4), layers.Dense(2)]))(x)
    x = layers.SpectralNormalization(layers.Conv1D(2, 2))(x)
    return keras.Model(inputs, layers.GroupNormalization(1)(x))


def siamese():
    base = dense_model()
    one, two = keras.Input((6,)), keras.Input((6,))
    return keras.Model([one, two], base(one) - base(two))


def transfer():
    """A compiled backbone, frozen inside another model."""
    base = dense_model()
    base.compile("adam", "mse")
    base.fit(X, np.zeros((4, 3)), verbose=0)
    base.trainable = False
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(1)(base(inputs, training=False)))
    model.compile("adam", "mse")
    model.fit(X, np.zeros((4, 1)), verbose=0)
    return model


def averaged():
    model = dense_model()
    model.compile(
        keras.optimizers.SGD(0.1, use_ema=True, weight_decay=0.01), "mse", metrics=["mae"]
    )
    model.fit(X, np.zeros((4, 3)), verbose=0)
    return model


def frozen_and_compiled():
    model = dense_model()
    model.get_layer("one").trainable = False
    model.compile("adam", "mse")
    model.fit(X, np.zeros((4, 3)), verbose=0)
    return model


def mixed():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = dense_model()
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile("adam", "mse")
    model.fit(X, np.zeros((4, 3)), verbose=0)
    return model


def borrowing():
    inputs = keras.Input((6,))
    encoder = layers.Dense(4, name="encoder")
    hidden = encoder(inputs)
    decoder = sy.layers.TiedDense(encoder, name="decoder")
    analyzer = sy.layers.WeightAnalyzer("encoder/kernel", metrics=["l2_norm", "mean"])
    return keras.Model(inputs, [decoder(hidden), analyzer(hidden)])


def rewritten():
    """Tied, parametrized and penalized by us."""
    inputs = keras.Input((6,))
    one, two, three = layers.Dense(6), layers.Dense(6), layers.Dense(6, use_bias=False)
    model = keras.Model(inputs, three(two(one(inputs))))
    sy.tie(two, "kernel", to=sy.ref(one, "kernel"), transform="transpose")
    sy.parametrize(three, "kernel", sy.parametrizations.SpectralNorm())
    sy.penalize(model, "**/bias", "l2")
    model.compile("adam", "mse")
    model.fit(X, X, verbose=0)
    return model


def observed():
    inputs = keras.Input((6,))
    one = layers.Dense(4, name="one")
    x = sy.layers.WeightPenalty(one, "l2")(one(inputs))
    return keras.Model(inputs, ops.matmul(x, sy.value(one, "bias")[:, None]))


def with_constants():
    inputs = keras.Input((6,))
    table = np.sin(np.arange(6) / 7).astype("float32")
    x = inputs * table + ops.arange(6, dtype="float32")
    x = ops.where(ops.convert_to_tensor([True, False] * 3), x, -1e9)
    return keras.Model(inputs, layers.LSTM(2)(layers.Reshape((2, 3))(x)))


def pretrained():
    inputs = keras.Input((6,))
    matrix = np.random.default_rng(1).normal(size=(6, 3)).astype("float32")
    layer = Pretrained(matrix)
    model = keras.Model(inputs, layer(inputs))
    object.__setattr__(layer, "whole", model)
    layer.handle = [lambda: model]
    return model


def told_shape():
    inputs = keras.Input((6,))
    return keras.Model(inputs, ToldShape()(inputs))


def regularized():
    inputs = keras.Input((6,))
    return keras.Model(inputs, RegularizedInCall()(inputs))


def watched_by_a_frozen_one():
    """A layer that measures with a frozen network, which it hides from Keras."""
    judge = dense_model()
    judge.trainable = False

    class Measure(layers.Layer):
        def call(self, x):
            self.add_loss(ops.mean(ops.square(judge(x))))
            return x

    inputs = keras.Input((6,))
    return keras.Model(inputs, Measure()(layers.Dense(6)(inputs)))


def view():
    """A part of a model, as a model."""
    model = dense_model()
    return keras.Model(model.input, model.get_layer("one").output)


def normalized():
    layer = layers.Normalization()
    layer.adapt(X)
    return keras.Sequential([keras.Input((6,)), layer, layers.Dense(2)])


def with_lookup():
    lookup = layers.StringLookup(vocabulary=[f"word {i}" for i in range(50)])
    return keras.Sequential([layers.Rescaling(2.0), layers.Dense(2), lookup])


MODELS = (
    backbone,
    subclassed,
    autoencoder,
    gan,
    lora,
    quantized,
    every_regularizer,
    recurrent,
    siamese,
    transfer,
    averaged,
    frozen_and_compiled,
    mixed,
    borrowing,
    rewritten,
    observed,
    with_constants,
    pretrained,
    regularized,
    told_shape,
    watched_by_a_frozen_one,
    view,
    normalized,
)


@pytest.mark.in_turn
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_a_model(make):
    assert sy.audit(make()) == []


@pytest.mark.parametrize(
    "make", [backbone, every_regularizer, recurrent, siamese, transfer, frozen_and_compiled]
)
def test_a_model_that_was_loaded(make, tmp_path):
    make().save(tmp_path / "model.keras")
    known = {"DecoderBlock": DecoderBlock, "Backbone": Backbone}
    model = keras.models.load_model(tmp_path / "model.keras", custom_objects=known)
    assert sy.audit(model) == []
    if make is not backbone:  # a clone is functional, and is not handed what `Backbone` takes
        assert sy.audit(keras.models.clone_model(model)) == []


@pytest.mark.parametrize(
    "make",
    [
        Subclassed,
        Autoencoder,
        lambda: keras.Sequential([layers.Dense(3), layers.Dense(2)]),
        lambda: layers.Dense(3),
        lambda: DecoderBlock(4, 2),
    ],
    ids=["subclassed", "autoencoder", "sequential", "layer", "block"],
)
def test_what_is_not_built_yet(make):
    assert sy.audit(make()) == []


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="strings are TensorFlow's")
def test_a_vocabulary():
    assert sy.audit(with_lookup()) == []
