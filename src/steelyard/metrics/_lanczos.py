"""The largest singular value of a large matrix, with a bound of its error."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Product = Callable[[np.ndarray], np.ndarray]


class Estimate(NamedTuple):
    """A singular value, and how far above it the true one can lie."""

    value: float
    bound: float


def largest_singular_value(
    times: Product,
    transposed_times: Product,
    columns: int,
    *,
    start: np.ndarray | None = None,
    tolerance: float = 1e-6,
    risk: float = 1e-6,
    most_steps: int = 300,
) -> Estimate:
    """Golub-Kahan-Lanczos bidiagonalization with full reorthogonalization.

    A Ritz value is never above the largest singular value. That the true one is not further above
    than the bound holds with probability 1 - `risk` over the random start (van Dorsselaer,
    Hochstenbach and van der Vorst 2000, "Computing probabilistic bounds for extreme eigenvalues of
    symmetric matrices with the Lanczos method"); rounding in the products comes on top, and is
    the caller's to add.

    Args:
        times: The matrix times a vector of `columns` entries.
        transposed_times: The transposed matrix times a vector of as many entries as rows.
        columns: The number of columns.
        start: Where to begin; a random vector of a fixed seed if not given. The bound holds for
            a random one only.
        tolerance: The bound to reach, in proportion.
        risk: The probability that the bound does not hold.
        most_steps: When to stop without having reached it.
    """
    if start is None:
        start = np.random.default_rng(0x5EED).normal(size=columns)
    right = start / np.linalg.norm(start)
    left = times(right)
    rights, lefts = _Basis(columns), _Basis(len(left))
    diagonal: list[float] = []
    above: list[float] = []
    value = bound = np.inf
    for step in range(min(most_steps, columns, len(left))):
        rights.add(right)
        left = lefts.against(left)
        diagonal.append(float(np.linalg.norm(left)))
        if diagonal[-1] <= 1e-14 * max(diagonal):
            return Estimate(_top(diagonal, above), np.inf if step == 0 and not diagonal[0] else 0.0)
        left = left / diagonal[-1]
        lefts.add(left)
        right = rights.against(transposed_times(left) - diagonal[-1] * right)
        above.append(float(np.linalg.norm(right)))
        if above[-1] <= 1e-14 * max(diagonal):  # the whole space is there
            return Estimate(_top(diagonal, above), 0.0)
        if step >= 4 and step % _EVERY == 0:
            value = _top(diagonal, above)
            bound = _bound(diagonal, above, value, columns, risk)
            if bound <= tolerance * value:
                break
        right = right / above[-1]
        left = times(right) - above[-1] * left
    else:
        value = _top(diagonal, above)
        bound = _bound(diagonal, above, value, columns, risk)
    return Estimate(value, bound)


def largest_by_gram(
    product: Product, columns: int, *, tolerance: float, risk: float = 1e-6, most_steps: int = 300
) -> Estimate:
    """The same in one pass over the matrix a step, and without vectors as long as its rows.

    Lanczos on the Gram matrix with full reorthogonalization. For the largest value its rounding is
    as that of the two products; only of small values it would lose the digits.

    Args:
        product: The transposed matrix times the matrix times a vector of `columns` entries.
        columns: The number of columns.
        tolerance: The bound to reach, in proportion.
        risk: The probability that the bound does not hold.
        most_steps: When to stop without having reached it.
    """
    vector = np.random.default_rng(0x5EED).normal(size=columns)
    vector /= np.linalg.norm(vector)
    known = _Basis(columns)
    alphas: list[float] = []
    betas: list[float] = []
    found = Estimate(0.0, np.inf)
    for step in range(min(most_steps, columns)):
        known.add(vector)
        image = product(vector)
        alphas.append(float(vector @ image))
        vector = known.against(image)
        betas.append(float(np.linalg.norm(vector)))
        top = _top_of_three(alphas, betas)
        if betas[-1] <= 1e-14 * top or step + 1 == columns:  # the whole space is there
            return Estimate(float(np.sqrt(top)), 0.0)
        if step >= 4 and step % _EVERY == 0:
            found = _certified(alphas, betas, top, columns, risk)
            if found.bound <= tolerance * found.value:
                return found
        vector = vector / betas[-1]
    return _certified(alphas, betas, top, columns, risk)


def _certified(
    alphas: list[float], betas: list[float], top: float, columns: int, risk: float
) -> Estimate:
    value = float(np.sqrt(top))
    return Estimate(value, _above(np.asarray(alphas), np.asarray(betas), value, columns, risk))


def _top_of_three(alphas: list[float], betas: list[float]) -> float:
    """The largest eigenvalue of a matrix of three diagonals."""
    off = betas[: len(alphas) - 1]
    return float(np.linalg.eigvalsh(np.diag(alphas) + np.diag(off, -1))[-1])


_EVERY = 4  # steps between two looks at the bound, which cost as much as a step


class _Basis:
    """Orthonormal vectors, in one array that grows.

    Args:
        length: Of each vector.
    """

    def __init__(self, length: int) -> None:
        self._rows = np.empty((16, length))
        self._count = 0

    def add(self, vector: np.ndarray) -> None:
        """Takes one more in."""
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._count] = vector
        self._count += 1

    def against(self, vector: np.ndarray) -> np.ndarray:
        """A vector made orthogonal to all of them; twice is enough (Kahan and Parlett)."""
        rows = self._rows[: self._count]
        for _ in range(2):
            vector = vector - (rows @ vector) @ rows
        return vector


def _top(diagonal: list[float], above: list[float]) -> float:
    size = len(diagonal)
    bidiagonal = np.diag(diagonal) + np.diag(above[: size - 1], 1)
    return float(np.linalg.norm(bidiagonal, 2))


def _bound(
    diagonal: list[float], above: list[float], value: float, columns: int, risk: float
) -> float:
    """As `_above`, for the Gram matrix of a bidiagonal one."""
    d, e = np.asarray(diagonal), np.asarray(above[: len(diagonal)])
    alphas = d**2 + np.concatenate([[0.0], e[: len(diagonal) - 1] ** 2])
    # Off the diagonal of BᵀB; the last leads to the next vector.
    return _above(alphas, d * e, value, columns, risk)


def _above(alphas: np.ndarray, betas: np.ndarray, value: float, columns: int, risk: float) -> float:
    """How far above the Ritz value the Lanczos polynomial still allows an eigenvalue.

    A random unit vector has a component of at least `part` along the wanted one, but for a
    probability of `risk`. The next Lanczos vector has norm 1, so that the polynomial is at most
    1 / `part` at the true value; it grows beyond the largest Ritz value.
    """
    part = risk * np.sqrt(np.pi / (2 * columns))
    limit = -np.log(part)
    size = len(alphas)

    def log_polynomial(point: float) -> float:
        before, now, scale = 0.0, 1.0, 0.0
        for i in range(size):
            back = betas[i - 1] * before if i else 0.0
            before, now = now, ((point - alphas[i]) * now - back) / betas[i]
            if abs(now) > 1e100:
                before, now, scale = before / 1e100, now / 1e100, scale + np.log(1e100)
        return np.log(abs(now)) + scale if now else -np.inf

    low = value**2
    width = low * 1e-12
    while log_polynomial(low + width) < limit:
        width *= 4
        if width > 1e6 * low:
            return np.inf
    inner, outer = 0.0, width
    for _ in range(40):
        middle = (inner + outer) / 2
        if log_polynomial(low + middle) < limit:
            inner = middle
        else:
            outer = middle
        if outer - inner < 1e-3 * outer:
            break
    return float(np.sqrt(low + outer) - value)
