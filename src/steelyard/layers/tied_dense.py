"""`TiedDense`: a dense layer that computes with another layer's kernel."""

from __future__ import annotations

from typing import Any

import keras

from steelyard.errors import ShapeMismatchError, SteelyardError
from steelyard.layers.borrower import Borrower
from steelyard.live import reopen


@keras.saving.register_keras_serializable(package="steelyard")
class TiedDense(Borrower):
    """`activation(inputs @ kernel.T + bias)`, where the kernel belongs to another layer.

    Args:
        of: whose kernel: a layer, built or not; its symbolic output; a `keras.Variable` of it; an
            address; or a reference. Of an `Embedding`, borrow `weight="embeddings"`.
        units: the size of the output, checked against the kernel. Needed only where the output
            shape must be known before the owner is built.
        activation: as in `keras.layers.Dense`.
        use_bias: whether the layer has a bias of its own.
        transpose: whether the kernel is transposed.
        weight: the name of the weight in the layer.
        **kwargs: as for any Keras layer.

    Input shape: (batch, ..., kernel columns); rows if not transposed.
    Output shape: (batch, ..., kernel rows); columns if not transposed.

    Raises:
        ShapeMismatchError: the kernel is no matrix, or does not fit the inputs or `units`.

    Example:
        >>> import keras, steelyard as sy
        >>> inputs = keras.Input((784,))
        >>> encoder = keras.layers.Dense(32, activation="relu", name="encoder")
        >>> code = encoder(inputs)
        >>> model = keras.Model(inputs, sy.layers.TiedDense(encoder, activation="sigmoid")(code))
        >>> model.count_params() == 784 * 32 + 32 + 784
        True
    """

    def __init__(
        self,
        of: Any,
        units: int | None = None,
        activation: Any = None,
        use_bias: bool = True,
        transpose: bool = True,
        weight: str = "kernel",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.transpose = transpose
        self.kernel = self.borrow(of, weight)
        self.bias = None
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Makes the bias, or leaves it for later if the owner of the kernel is not built yet."""
        width = self._width()
        if not self.is_complete() and width is not None:
            with reopen(self):
                self.bias = self.add_weight(shape=(width,), initializer="zeros", name="bias")

    def is_complete(self) -> bool:
        """Whether the bias is there, if there is to be one."""
        return not self.use_bias or self.bias is not None

    def call(self, inputs: Any) -> Any:
        """The tied dense transformation of `inputs`."""
        kernel = keras.ops.cast(self.kernel(), self.compute_dtype)
        self._check(tuple(kernel.shape), inputs.shape)
        outputs = keras.ops.matmul(
            inputs, keras.ops.transpose(kernel) if self.transpose else kernel
        )
        if self.bias is not None:
            outputs = keras.ops.add(outputs, self.bias)
        return self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """(batch, ..., units)."""
        return (*input_shape[:-1], self._width(input_shape))

    def _width(self, input_shape: Any = None) -> int | None:
        """The size of the output, or None as long as nobody can know."""
        try:
            shape = self.kernel.shape
        except SteelyardError:
            return self.units
        self._check(shape, input_shape)
        return shape[0] if self.transpose else shape[1]

    def _check(self, shape: tuple[int, ...], input_shape: Any) -> None:
        who = f"Layer '{self.name}' (TiedDense)"
        if len(shape) != 2:
            raise ShapeMismatchError(
                f"{who} needs a matrix, and weight '{self.kernel.address}' has shape {shape}."
            )
        rows, columns = shape[::-1] if self.transpose else shape
        how = "transposed, " if self.transpose else ""
        if input_shape is not None and input_shape[-1] not in (None, rows):
            raise ShapeMismatchError(
                f"{who} was called on inputs of shape {tuple(input_shape)}, and weight "
                f"'{self.kernel.address}' of shape {shape}, {how}takes inputs of size {rows}."
            )
        if self.units not in (None, columns):
            raise ShapeMismatchError(
                f"{who} was made with units={self.units}, and weight '{self.kernel.address}' of "
                f"shape {shape}, {how}gives outputs of size {columns}."
            )
