"""The pair of singular vectors that belongs to the largest singular value of a matrix.

`u` is the one on the smaller side of the matrix, `v` the one on the other. All is by products
with vectors, in operations that every backend compiles; no power of an entry's size occurs.
"""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

# How far one power iteration may move a vector that passes: if it is moved by d, the singular
# value that it gives is wrong by d / 2 at most, in proportion (and nearly always by about d²).
_MOVES = 5e-4
# By how much a vector that started elsewhere may do better, rounding included.
_BETTER = 1e-4
# What keeps a quotient of zeros from being no number.
_TINY = 1e-37
_WARM_STEPS = 3
_BASIS = 32
_RESTARTS = 8
_SQUARINGS = 16
# Above this side, the exact vectors of a matrix take seconds on the host.
_EXACT_SIDE = 1024


def onward(matrix: Any, u: Any) -> Any:
    """The product of the matrix with a vector of its smaller side, or with each row of several."""
    return ops.matmul(u, matrix) if _is_wide(matrix) else _with_columns(matrix, u)


def stepped(matrix: Any, u: Any) -> tuple[Any, Any]:
    """`v`, then `u`, after one power iteration; `u` stays if the matrix is 0 or not finite.

    Args:
        matrix: (rows, columns), without gradient.
        u: (min(rows, columns),) or several, (n, min(rows, columns)), each of length 1.
    """
    v, length = _scaled(onward(matrix, u))
    v = v / ops.maximum(length, 0.5)  # not by 0, nor by a product of tiny numbers, as XLA may
    back = _with_columns(matrix, v) if _is_wide(matrix) else ops.matmul(v, matrix)
    new, length = _scaled(back)
    return v, ops.where(length >= 0.5, new / length, u)


def leading(matrix: Any, u: Any) -> tuple[Any, Any]:
    """`u` and `v` of a matrix, given a `u` that may be right, old, or of another matrix.

    Args:
        matrix: (rows, columns), without gradient.
        u: (min(rows, columns),), of length 1.
    """
    return _compiled_once()(matrix, u)


@functools.cache
def _compiled_once() -> Any:
    """On JAX each eager `cond` and `while_loop` would be compiled again: a second for a read."""
    if keras.backend.backend() != "jax":
        return _leading
    import jax

    return jax.jit(_leading)


def _leading(matrix: Any, u: Any) -> tuple[Any, Any]:
    both = ops.stack([u, _elsewhere(matrix)])
    for _ in range(_WARM_STEPS):
        old, (_, both) = both, stepped(matrix, both)
    product = onward(matrix, both)
    gains = _scaled(product)[1] * ops.max(ops.abs(product), axis=-1, keepdims=True)
    u, gain, other_gain = both[0], gains[0, 0], gains[1, 0]
    settled = ops.logical_and(_distance(u, old[0]) <= _MOVES, other_gain <= gain * (1 + _BETTER))
    # In what is not finite there is nothing to be found.
    settled = ops.logical_or(settled, ops.logical_not(ops.isfinite(gain)))
    if _is_written_down():
        u = ops.where(settled, u, _best_of_krylov(matrix, _shaken(matrix, u)))
    else:
        u = ops.cond(settled, lambda: u, lambda: _searched(matrix, u))
    v, u = stepped(matrix, u)
    return u, v


def _is_written_down() -> bool:
    """Whether torch exports a program, in which no value can decide what is done next."""
    if keras.backend.backend() != "torch":
        return False
    import torch

    known = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
    return bool(known())


def exact(matrix: np.ndarray) -> np.ndarray:
    """`u` of an array, (min(rows, columns),), in float32; on the host.

    Of a matrix whose sides are both large, what some rounds of subspace iteration give.
    """
    side = min(matrix.shape)
    matrix = np.asarray(matrix, "float64" if side <= _EXACT_SIDE else "float32")
    largest = np.abs(matrix).max(initial=0)
    if not (np.isfinite(largest) and largest > 0):
        return np.full(side, side**-0.5, "float32")
    matrix = (matrix if matrix.shape[1] == side else matrix.T) / largest
    if side <= _EXACT_SIDE:
        return np.linalg.eigh(matrix.T @ matrix)[1][:, -1].astype("float32")
    vectors = np.random.default_rng(0).normal(size=(side, 16)).astype("float32")
    for _ in range(30):
        vectors = np.linalg.qr(matrix.T @ (matrix @ vectors))[0]
    seen = matrix @ vectors
    return (vectors @ np.linalg.eigh(seen.T @ seen)[1][:, -1]).astype("float32")


def _is_wide(matrix: Any) -> bool:
    return matrix.shape[0] < matrix.shape[1]


def _with_columns(matrix: Any, rows: Any) -> Any:
    """The matrix times each row; to transpose these is cheaper than to transpose the matrix."""
    if len(rows.shape) == 1:
        return ops.matmul(matrix, rows)
    return ops.transpose(ops.matmul(matrix, ops.transpose(rows)))


def _scaled(vector: Any) -> tuple[Any, Any]:
    """Each vector over its largest entry, and the length that it has now: 0, or 1 and more."""
    largest = ops.max(ops.abs(vector), axis=-1, keepdims=True)
    vector = vector / (largest + _TINY)
    return vector, ops.sqrt(ops.sum(ops.square(vector), axis=-1, keepdims=True))


def _distance(new: Any, old: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(new - old)))


def _elsewhere(matrix: Any) -> Any:
    """A vector of length 1 that has nothing to do with the matrix, always the same."""
    vector = np.random.default_rng(0).normal(size=min(matrix.shape))
    return ops.convert_to_tensor(vector / np.linalg.norm(vector), matrix.dtype)


def _searched(matrix: Any, u: Any) -> Any:
    """`u` by restarted Lanczos iterations, until a power iteration does not move it."""

    def restart(u: Any, moves: Any) -> tuple[Any, Any]:
        found = _best_of_krylov(matrix, u)
        _, new = stepped(matrix, found)
        return new, _distance(new, found)

    moves = ops.ones((), matrix.dtype)
    found = ops.while_loop(
        lambda u, moves: moves > _MOVES,
        restart,
        (_shaken(matrix, u), moves),
        maximum_iterations=_RESTARTS,
    )
    return found[0]


def _shaken(matrix: Any, u: Any) -> Any:
    """Part of it lies elsewhere, in case `u` is a singular vector and not the leading one."""
    start = u + 0.5 * _elsewhere(matrix)
    return start / _distance(start, 0.0)


def _best_of_krylov(matrix: Any, u: Any) -> Any:
    """The best vector of the span of `u`, `G u`, `G² u`, … where `G` is the Gram matrix.

    Golub and Van Loan, "Matrix Computations", chapter 10; with full orthogonalization.
    """
    size = min(_BASIS, *matrix.shape)

    def extend(i: Any, held: tuple[Any, Any]) -> tuple[Any, Any]:
        basis, u = held
        basis = basis + ops.expand_dims(ops.one_hot(i, size, dtype=basis.dtype), 1) * u
        _, new = stepped(matrix, u)
        # Twice is enough; what is left when the span is complete is rounding, and becomes 0.
        for _ in range(2):
            new = new - ops.matmul(ops.matmul(basis, new), basis)
            length = _distance(new, 0.0)
            new = ops.where(length > 1e-5, new / length, ops.zeros_like(new))
        return basis, new

    empty = ops.zeros((size, min(matrix.shape)), matrix.dtype)
    basis, _ = ops.fori_loop(0, size, extend, (empty, u))
    seen = ops.matmul(basis, matrix if _is_wide(matrix) else ops.transpose(matrix))
    seen = seen / (ops.max(ops.abs(seen)) + _TINY)
    best = ops.matmul(_top_eigenvector(ops.matmul(seen, ops.transpose(seen))), basis)
    scaled, length = _scaled(best)
    return ops.where(length >= 0.5, scaled / length, u)


def _top_eigenvector(gram: Any) -> Any:
    """By squaring: each matrix is the square of the last, until one eigenvalue is left."""

    def squared(_: Any, gram: Any) -> Any:
        gram = gram / (ops.trace(gram) + _TINY)
        return ops.matmul(gram, gram)

    gram = ops.fori_loop(0, _SQUARINGS, squared, gram)
    return ops.take(gram, ops.argmax(ops.diagonal(gram)), axis=1)
