"""`Mask`: a weight of which some entries are 0."""

from __future__ import annotations

import base64
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from steelyard.errors import ParametrizationError, ShapeMismatchError
from steelyard.parametrizations._matrix import widened
from steelyard.parametrizations.parametrization import Parametrization
from steelyard.parametrizations.sparsity_schedule import SparsitySchedule, check_sparsity


@keras.saving.register_keras_serializable(package="steelyard")
class Mask(Parametrization):
    """The weight where the mask is 1, and exactly 0 elsewhere: pruning.

    Exactly one of the first four arguments says which entries stay:

    - `Mask(array)`: a mask that is given.
    - `Mask(sparsity=0.8)`: the largest magnitudes at the time when the weight is parametrized.
    - `Mask(n_m=(2, 4))`: of every 4 neighbors along `axis` the 2 largest, likewise.
    - `Mask(schedule=PolynomialDecay(0.0, 0.8, begin_step=0, end_step=1000))`: the largest
      magnitudes, fewer and fewer as training goes on. Magnitudes are those of the stored entries,
      so a pruned one may return, as in Zhu and Gupta 2017, "To prune, or not to prune".

    The mask is a weight of the layer (`kernel_mask`, bool) that is saved and not trained, as is the
    number of training calls of a schedule (`kernel_step`).

    Args:
        mask: An array of 0 and 1 (or of booleans), of the weight's shape or one that spreads to it.
        sparsity: The share of entries that are 0, in [0, 1], to the nearest entry.
        schedule: A `SparsitySchedule`, which goes one step further in each call in training.
        n_m: `(n, m)`: at most n of every m are not 0.
        axis: The axis along which `n_m` counts; by default the last but one, a kernel's inputs.
        straight_through: Whether the gradient reaches pruned entries as if they were not; by
            default it is 0 there, and the stored values of pruned entries stay what they were.
    """

    def __init__(
        self,
        mask: Any = None,
        *,
        sparsity: float | None = None,
        schedule: SparsitySchedule | None = None,
        n_m: tuple[int, int] | None = None,
        axis: int = -2,
        straight_through: bool = False,
    ) -> None:
        ways = {"mask": mask, "sparsity": sparsity, "schedule": schedule, "n_m": n_m}
        given = [name for name, value in ways.items() if value is not None]
        if len(given) != 1:
            raise ParametrizationError(
                "Mask takes exactly one of `mask`, `sparsity`, `schedule` and `n_m`. Received: "
                f"{', '.join(given) or 'none'}."
            )
        if sparsity is not None:
            check_sparsity("Mask", "sparsity", sparsity)
        self.mask = None if mask is None else _as_bits(mask)
        self.sparsity = sparsity
        self.schedule = schedule
        self.n_m = None if n_m is None else _checked(n_m)
        self.axis = axis
        self.straight_through = straight_through

    def forward(self, value: Any, mask: Any, step: Any = None) -> Any:
        """Shapes: as the weight, mask as the weight -> as the weight."""
        kept = ops.where(ops.cast(mask, "bool"), value, ops.zeros_like(value))
        if self.straight_through:
            return value + ops.stop_gradient(kept - value)
        return kept

    def right_inverse(self, value: Any) -> Any:
        """The weight itself: what is 0 where the mask is stays as it is."""
        return value

    def initial_state(self, value: np.ndarray) -> dict[str, np.ndarray]:
        """`mask`, of the weight's shape; for a schedule a mask of ones, and `step`."""
        if self.schedule is not None:
            return {"mask": np.ones(value.shape, bool), "step": np.zeros((), "int32")}
        if self.mask is not None:
            mask = np.broadcast_to(self.mask, value.shape)
        elif self.n_m is not None:
            mask = _largest_of_each(np.abs(value), *self.n_m, self.axis)
        else:
            assert self.sparsity is not None  # `__init__` lets one of the four through
            order = np.argsort(np.abs(value), axis=None, kind="stable")
            mask = np.ones(value.size, bool)
            mask[order[: round(self.sparsity * value.size)]] = False
            mask = mask.reshape(value.shape)
        return {"mask": np.array(mask, bool)}

    def update(self, value: Any, mask: Any, step: Any = None) -> dict[str, Any]:
        """With a schedule, the next step, and at some steps another mask."""
        schedule = self.schedule
        if schedule is None:
            return {}
        size = ops.abs(widened(ops.stop_gradient(value)))
        new = ops.cond(
            schedule.prunes_at(step),
            lambda: ops.cast(_largest(size, schedule(step)), mask.dtype),
            lambda: mask,
        )
        return {"mask": new, "step": step + 1}

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuses a shape that the mask does not spread to, or that has no whole groups of m."""
        if self.mask is not None:
            self._check_mask(self.mask.shape, shape)
        if self.n_m is None:
            return
        m = self.n_m[1]
        if not -len(shape) <= self.axis < len(shape) or shape[self.axis] % m:
            raise ShapeMismatchError(
                f"Mask(n_m={self.n_m}) counts along axis {self.axis} of the weight, whose length "
                f"must be a multiple of {m}. Received shape {tuple(shape)}. Choose another `axis`, "
                "or use `sparsity`."
            )

    @staticmethod
    def _check_mask(mask: tuple[int, ...], shape: tuple[int, ...]) -> None:
        try:
            spreads = np.broadcast_shapes(mask, shape) == tuple(shape)
        except ValueError:
            spreads = False
        if not spreads:
            raise ShapeMismatchError(
                f"A mask of shape {tuple(mask)} does not fit a weight of shape {tuple(shape)}. "
                "Give it the weight's shape, or one that spreads to it."
            )

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`; a mask as its bits, of which there may be millions."""
        config = super().get_config()
        if self.mask is not None:
            bits = base64.b64encode(np.packbits(self.mask).tobytes()).decode()
            config["mask"] = {"shape": list(self.mask.shape), "bits": bits}
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A mask from what `get_config` wrote."""
        written = config.get("mask")
        if isinstance(written, dict) and "bits" in written:
            packed = np.frombuffer(base64.b64decode(written["bits"]), "uint8")
            count = int(np.prod(written["shape"]))
            bits = np.unpackbits(packed, count=count).reshape(written["shape"])
            config = {**config, "mask": bits.astype(bool)}
        return super().from_config(config)


def _as_bits(mask: Any) -> np.ndarray:
    array = ops.convert_to_numpy(mask)
    if not np.isin(array, (0, 1)).all():
        raise ParametrizationError(
            "A mask consists of 0 (pruned) and 1 (kept), or of booleans. Received values from "
            f"{array.min()} to {array.max()}."
        )
    return array.astype(bool)


def _checked(n_m: tuple[int, int]) -> tuple[int, int]:
    match tuple(n_m):
        case (int(n), int(m)) if 0 < n <= m:
            return n, m
    raise ParametrizationError(
        "`n_m` is a pair of whole numbers, 0 < n <= m: of every m entries n stay. Received: "
        f"n_m={n_m!r}."
    )


def _largest(size: Any, sparsity: Any) -> Any:
    """Which entries are among the largest: all but a share, exact also where many are equal."""
    entries = ops.reshape(size, (-1,))
    count = ops.round(sparsity * entries.shape[0])
    rank = ops.argsort(ops.argsort(entries))
    return ops.reshape(ops.cast(rank, "int32") >= ops.cast(count, "int32"), size.shape)


def _largest_of_each(size: np.ndarray, n: int, m: int, axis: int) -> np.ndarray:
    """Which entries are among the n largest of their m neighbors along an axis."""
    last = np.moveaxis(size, axis, -1)
    groups = last.reshape(*last.shape[:-1], -1, m)
    rank = np.argsort(np.argsort(-groups, axis=-1, kind="stable"), axis=-1)
    return np.moveaxis((rank < n).reshape(last.shape), -1, axis)
