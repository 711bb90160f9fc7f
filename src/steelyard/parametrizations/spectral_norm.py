"""`SpectralNorm`: a weight whose largest singular value is 1."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from steelyard.errors import ParametrizationError
from steelyard.parametrizations._leading import exact, leading, onward, stepped
from steelyard.parametrizations._matrix import as_dtype_of, as_matrix, check_matrix, widened
from steelyard.parametrizations.parametrization import Parametrization


@keras.saving.register_keras_serializable(package="steelyard")
class SpectralNorm(Parametrization):
    """`w / σ(w)`, where σ is the largest singular value.

    Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks". A weight of
    more than two axes is a matrix whose columns are its last axis. The stored weight is never
    overwritten; the gradient is that of `w / σ(w)`. A weight of zeros is used as it is.

    A call in training takes the singular vector that the last one left and improves it by a few
    power iterations. After large steps of the optimizer it may lag behind, and σ be too small by
    some percent; more iterations help. A call in inference is right to 1e-3, whatever became
    of the weight: it tests the vector, and looks for a better one only if it fails.

    Args:
        n_power_iterations: The number of power iterations in each call in training, above 0.
    """

    def __init__(self, n_power_iterations: int = 1) -> None:
        if n_power_iterations < 1:
            raise ParametrizationError(
                "SpectralNorm needs a power iteration or more in each call. Received: "
                f"n_power_iterations={n_power_iterations!r}."
            )
        self.n_power_iterations = n_power_iterations

    def forward(self, value: Any, u: Any, v: Any = None) -> Any:
        """Shapes: (..., columns) -> (..., columns).

        Args:
            value: The stored weight.
            u: The singular vector on the smaller side of the matrix.
            v: That on the other side, from `update`; None in inference.
        """
        matrix = as_matrix(widened(value))
        if v is None:
            u, v = leading(ops.stop_gradient(matrix), ops.cast(u, matrix.dtype))
        sigma = ops.sum(ops.stop_gradient(v) * onward(matrix, ops.stop_gradient(u)))
        sigma = ops.where(sigma == 0, ops.ones_like(sigma), sigma)
        # 1 / sigma as a series around what sigma is: exact in value and in two derivatives, and
        # without the square of a sigma of 1e-20 or 1e20.
        inverse = ops.stop_gradient(1 / sigma)
        off = (sigma - ops.stop_gradient(sigma)) * inverse
        return value * as_dtype_of(inverse * (1 - off + off * off), value)

    def right_inverse(self, value: Any) -> Any:
        """The weight itself: what has σ = 1 stays as it is."""
        return value

    def initial_state(self, value: np.ndarray) -> dict[str, np.ndarray]:
        """`u`: the singular vector on the smaller side, (min(rows, columns),)."""
        return {"u": exact(value.reshape(-1, value.shape[-1]))}

    def update(self, value: Any, u: Any) -> dict[str, Any]:
        """Both singular vectors after `n_power_iterations`; that `v` is there says: training."""
        matrix = as_matrix(ops.stop_gradient(widened(value)))
        new = ops.cast(u, matrix.dtype)
        for _ in range(self.n_power_iterations):
            v, new = stepped(matrix, new)
        return {"u": as_dtype_of(new, u), "v": v}

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuses a vector."""
        check_matrix("SpectralNorm", shape)
