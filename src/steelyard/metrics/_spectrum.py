"""The singular values of a weight, worked out once for all metrics that need them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from steelyard.metrics._lanczos import largest_singular_value
from steelyard.metrics._matrix import Matrices, matrices

# Below this share of the largest, a singular value out of a Gram matrix in float64 is not resolved.
RESOLVED = 1e-6
# From here on, the largest value alone is found faster without the others.
LARGE = 1024
_ROWS = 512


class Spectrum:
    """All singular values of the matrices of a weight.

    Args:
        matrices: The weight as matrices.

    Attributes:
        values: Largest first, in float64; those under `RESOLVED` of the first may be off by much.
    """

    def __init__(self, matrices: Matrices) -> None:
        self.matrices = matrices
        self.xp: Any = np
        self.compat = matrices.compat
        found = np.concatenate([_by_gram(block) for block in matrices.blocks])
        self.values = np.sort(found)[::-1] * factor(matrices)

    @property
    def largest(self) -> tuple[float, float | None]:
        """The largest singular value and the bound of its error: None, exact to rounding."""
        return float(self.values[0]), None

    @cached_property
    def exact(self) -> np.ndarray:
        """All singular values, the small ones too: decomposed where the Gram matrix is coarse."""
        if self._is_resolved():
            return self.values
        blocks = (block.astype("float64") for block in self.matrices.blocks)
        found = np.concatenate([np.linalg.svd(b, compute_uv=False) for b in blocks])
        return np.sort(found)[::-1] * factor(self.matrices)

    def _is_resolved(self) -> bool:
        """Whether even the smallest value is good enough for what the weight is stored in."""
        least = RESOLVED if self.matrices.eps > 1e-12 else 1e-3
        return bool(self.values[-1] > least * self.values[0] or self.values[0] == 0)

    @property
    def squares(self) -> Any:
        """The eigenvalues λ = σ² of the Gram matrix, largest first."""
        return self.xp.square(self.values)

    @cached_property
    def frobenius_squared(self) -> Any:
        """The sum of the λ."""
        return self.xp.sum(self.squares)

    @property
    def long(self) -> int:
        """N: the longer side of a matrix."""
        return self.matrices.long

    @property
    def short(self) -> int:
        """M: the shorter side of a matrix."""
        return self.matrices.short

    @cached_property
    def kept(self) -> dict[str, Any]:
        """What several metrics share, such as the fit of the tail."""
        return {}


class GraphSpectrum(Spectrum):
    """The singular values of a tensor, with slopes."""

    def __init__(self, matrices: Matrices) -> None:
        self.matrices = matrices
        self.xp = matrices.xp
        self.compat = None
        found = self.xp.linalg.svd(matrices.blocks, compute_uv=False)
        flat = self.xp.reshape(found, (-1,))
        self.values = flat if matrices.count == 1 else self.xp.flip(self.xp.sort(flat))

    @property
    def largest(self) -> tuple[Any, None]:
        """The largest singular value; no bound."""
        return self.values[0], None

    @property
    def exact(self) -> Any:
        """As `values`."""
        return self.values


class Largest:
    """The largest singular value and the sum of the squares of all, without the rest.

    Args:
        matrices: The weight as one matrix.
    """

    xp: Any = np

    def __init__(self, matrices: Matrices) -> None:
        self.matrices = matrices
        self._matrix = matrices.blocks[0]
        if matrices.blocks.shape[1] < matrices.blocks.shape[2]:
            self._matrix = self._matrix.T

    @cached_property
    def largest(self) -> tuple[float, float | None]:
        """The largest singular value and the bound of its error."""
        matrix = self._matrix
        if not matrix.any():
            return 0.0, None
        scale = _magnitude(matrix)
        kind = matrix.dtype.type

        def times(vector: np.ndarray) -> np.ndarray:
            return np.asarray(matrix @ (vector / scale).astype(kind), "float64")

        def transposed_times(vector: np.ndarray) -> np.ndarray:
            return np.asarray(matrix.T @ vector.astype(kind), "float64") / scale

        found = largest_singular_value(times, transposed_times, matrix.shape[1], tolerance=1e-5)
        # Rounding of the products: in the worst case √N·ε, in ours of random signs, below 4ε.
        rounding = 4 * self.matrices.eps * found.value
        return found.value * scale, (found.bound + rounding) * scale

    @cached_property
    def frobenius_squared(self) -> float:
        """The sum of the squared singular values: that of the squared entries."""
        return float(
            sum(
                np.sum(np.square(self._matrix[i : i + _ROWS], dtype="float64"))
                for i in range(0, len(self._matrix), _ROWS)
            )
        )


def spectrum_of(array: Any, xp: Any = np, **told: Any) -> Spectrum:
    """The singular values of a weight, prepared for the metrics that need them."""
    given = array if isinstance(array, Matrices) else matrices(array, xp, **told)
    return Spectrum(given) if given.xp is np else GraphSpectrum(given)


def largest_of(array: Any, xp: Any = np, **told: Any) -> Largest | Spectrum:
    """What gives the largest singular value at least cost."""
    given = array if isinstance(array, Matrices) else matrices(array, xp, **told)
    alone = given.xp is np and given.count == 1 and given.short >= LARGE and not given.compat
    return Largest(given) if alone else spectrum_of(given)


def factor(matrices: Matrices) -> float:
    """What singular values are multiplied by: WeightWatcher takes √½ for convolutions."""
    return float(np.sqrt(0.5)) if matrices.compat and matrices.kernel else 1.0


def _magnitude(matrix: np.ndarray) -> float:
    """The largest absolute entry, or 1: with it divided out, nothing over- or underflows."""
    return float(max(matrix.max(), -matrix.min())) or 1.0


def _by_gram(block: np.ndarray) -> np.ndarray:
    """Singular values of one matrix as the roots of the eigenvalues of its Gram matrix.

    The products are in float64 on the short side, some hundred rows at a time, so that memory is
    that of the Gram matrix; their errors are ε(σ₁/σ)² in proportion.
    """
    tall = block if block.shape[0] >= block.shape[1] else block.T
    # Squares of what fits in float32 fit in float64.
    scale = 1.0 if tall.dtype == np.float32 else _magnitude(tall)
    step = max(_ROWS, tall.shape[1])
    gram = np.zeros(0)
    for start in range(0, tall.shape[0], step):
        part = tall[start : start + step].astype("float64")
        if scale != 1.0:
            part /= scale
        product = part.T @ part  # BLAS's syrk
        gram = np.add(gram, product, out=gram) if start else product
        del product
    return scale * np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0))
