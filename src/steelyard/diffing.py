"""`diff`: what differs between the weights of whatever two things hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from steelyard.compare import differences
from steelyard.opening import weights
from steelyard.selection import Changes


def diff(
    a: Any,
    b: Any,
    *,
    metrics: str | Iterable[str] | None = None,
    select: Any = "**",
    progress: Callable[[int, int], None] | None = None,
) -> Changes:
    """How the weights of two sources differ: by address, in the values that layers compute with.

    Both sources are read side by side, one weight of each at a time. Weights at the same address
    are compared, whatever they are stored as; at another address of a shared weight, too. What a
    layer works out from other weights (a tied kernel, transposed) and neither source stores is
    compared if `select` names it.

    Args:
        a: What `sy.weights` opens: a model, a layer, a selection, a `WeightSource`.
        b: Another, of any kind.
        metrics: Names of metrics of two weights, such as `"subspace_angle"`, to be taken of each
            weight that changed. Its reason tells them, and its `numbers` hold them by name, beside
            the largest absolute difference and the cosine, which are always there.
        select: Which weights, by their address in either, as `Weights.select` reads it.
        progress: Told, after each weight, how many are done and how many there are.

    Returns:
        One entry for each weight of `b`, in its order, then one for each that only `a` has.
        `changes.identical` says whether nothing differs. The kinds:

        - `unchanged`: the same number in each entry; NaN is the same as NaN. Whether it is stored
          in another dtype is said in the reason, and is a difference to `identical`.
        - `changed`: `amount` is the norm of the difference over that of the value in `a`. It is
          infinite if that is 0, or if entries are NaN or infinite in one and not the same in the
          other: then the other numbers are of the other entries, and the reason says so.
        - `reshaped`: of another shape. With the same numbers in the same order, `amount` is 0.
        - `renamed`: only `a` has it at one address, and only `b` the very same values at another.
          A constant, such as a bias of zeros, is no evidence for that, and neither are values
          that several weights have.
        - `added`, `removed`: only `b` has it, or only `a`.
        - `failed`: one of the two could not be read, and the others went on.

    Raises:
        SourceError: If one of the two has no weights.
        UnknownAddressError: If `select` matches nothing in either.
        UnknownMetricError: If there is no metric of two weights of that name.

    Example:
        >>> import keras, steelyard as sy
        >>> layer = keras.layers.Dense(2, kernel_initializer="ones")
        >>> other = keras.layers.Dense(2, kernel_initializer=keras.initializers.Constant(3.0))
        >>> layer.build((None, 2)), other.build((None, 2))
        (None, None)
        >>> sy.diff(layer, other)["kernel"].amount
        2.0
    """
    return differences(weights(a), weights(b), select=select, metrics=metrics, progress=progress)
