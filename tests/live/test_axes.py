"""The axes of every stock layer's weights: which are inputs, which are outputs."""

import keras
import numpy as np
import pytest
from keras import layers

import steelyard as sy

CASES = {
    "dense": (lambda: layers.Dense(3), (4,), {"kernel": "io", "bias": ""}),
    "embedding": (lambda: layers.Embedding(7, 3), (4,), {"embeddings": "io"}),
    "conv1d": (lambda: layers.Conv1D(3, 2), (5, 4), {"kernel": "kio"}),
    "conv2d": (lambda: layers.Conv2D(3, 2), (5, 5, 4), {"kernel": "kkio"}),
    "conv3d": (lambda: layers.Conv3D(3, 2), (4, 4, 4, 2), {"kernel": "kkkio"}),
    "transposed": (lambda: layers.Conv2DTranspose(3, 2), (5, 5, 4), {"kernel": "kkoi"}),
    "depthwise": (lambda: layers.DepthwiseConv2D(2), (5, 5, 4), {"kernel": "kkbo"}),
    "separable": (
        lambda: layers.SeparableConv2D(3, 2),
        (5, 5, 4),
        {"depthwise_kernel": "kkbo", "pointwise_kernel": "kkio"},
    ),
    "einsum": (
        lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3)),
        (4, 5),
        {"kernel": "ioo"},
    ),
    "einsum, other way around": (
        lambda: layers.EinsumDense("ab,cb->ac", 3),
        (5,),
        {"kernel": "oi"},
    ),
    "einsum by blocks": (
        lambda: layers.EinsumDense("abc,bcd->abd", (4, 2)),
        (4, 5),
        {"kernel": "bio"},
    ),
    "einsum with dots": (lambda: layers.EinsumDense("...x,xy->...y", 3), (4, 5), {"kernel": "io"}),
    "lstm": (lambda: layers.LSTM(3), (4, 5), {"cell/kernel": "io", "cell/recurrent_kernel": "io"}),
}


@pytest.mark.parametrize("name", CASES)
def test_axes(name):
    make, shape, wanted = CASES[name]
    layer = make()
    layer.build((None, *shape))
    there = sy.weights(layer)
    assert {address: there[address].spec.axes for address in wanted} == wanted


@pytest.mark.parametrize("name", ["dense", "conv2d", "transposed", "depthwise", "einsum"])
def test_sigma_is_that_of_what_the_layer_does(name):
    """The spectral norm bounds, and nearly reaches, how far the layer stretches an input."""
    make, shape, _ = CASES[name]
    layer = make()
    layer.build((None, *shape))
    size = int(np.prod(shape))
    x = np.eye(size, dtype="float32").reshape(size, *shape)
    operator = keras.ops.convert_to_numpy(layer(x)).reshape(size, -1)
    sigma = sy.metrics.spectral_norm(
        sy.weights(layer)["kernel"].numpy(), axes=sy.weights(layer)["kernel"].spec.axes
    )
    positions = 1 if name in ("dense", "einsum") else layer.kernel_size[0] * layer.kernel_size[1]
    norm = np.linalg.norm(operator.astype("float64"), 2)
    # A position of the input is seen by as many positions of the kernel.
    assert norm <= sigma * np.sqrt(positions) * (1 + 1e-5)
    assert norm >= sigma * 0.99
