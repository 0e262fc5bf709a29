"""GPTQ: rounds the weights of a layer so that what it computes from its inputs changes least.

Frantar et al. 2022, arXiv:2210.17323. With e = w - q for the weights w of one output channel and H = X'X of what the
layer reads, rounding changes the output by e H e'. Columns are rounded one after another, and what rounding one of
them breaks, the columns after it mend.

GPTQ takes a Cholesky factor of the inverse of H. The same integers come from H = (I + U) D (I + U)' with U strictly
upper triangular, without any inverse (LDLQ; Chee et al. 2023, arXiv:2307.13304, theorem 6): e H e' is the sum over
columns k of D_k (e_k + sum_{j<k} e_j U_jk)^2, so column k is rounded to the integer next to w_k + sum_{j<k} e_j U_jk.
"""

from __future__ import annotations

import numpy as np

__all__ = ["DAMPING", "output_error", "round_rows"]

DAMPING = 0.01
"""The share of its mean diagonal that is added to H's diagonal, as in the paper."""

# Columns that are mended one by one; what they do to all later ones is one matrix product.
_BLOCK = 64


def round_rows(rows: np.ndarray, covariance: np.ndarray, limit: int) -> np.ndarray:
    """The integers of a layer's weights; the groups of a convolution may be rounded together, along leading axes.

    A row for which the result would be worse than the nearest integers, in terms of `covariance`, keeps those.

    Args:
        rows: float64[..., outputs, columns], weights in units of their scales.
        covariance: float64[..., columns, columns], X'X of what the layer reads, in any unit.
        limit: the largest magnitude of an integer.

    Returns:
        float64[..., outputs, columns], whole numbers from -limit to limit.
    """
    nearest: np.ndarray = np.clip(np.rint(rows), -limit, limit)
    diagonal = np.diagonal(covariance, axis1=-2, axis2=-1)
    mean = diagonal.mean(axis=-1, keepdims=True)
    # The columns that matter most first: the others are still there to mend them.
    order = np.argsort(-diagonal, axis=-1, kind="stable")
    groups: tuple[np.ndarray, ...] = np.indices(order.shape[:-1], sparse=True)
    group = tuple(at[..., None, None] for at in groups)
    damped = covariance[(*group, order[..., :, None], order[..., None, :])]
    # A group that reads nothing but zeros, or something that is not a number, gets a unit matrix, which mends nothing.
    reads = mean > 0
    damped[~reads[..., 0]] = 0.0
    at = np.arange(damped.shape[-1])
    damped[..., at, at] += np.where(reads, DAMPING * mean, 1.0)
    in_order = np.take_along_axis(rows, order[..., None, :], axis=-1)
    rounded = np.empty_like(nearest)
    found = _round_in_order(in_order, _unit_upper(damped), limit)
    np.put_along_axis(rounded, np.broadcast_to(order[..., None, :], rows.shape), found, axis=-1)
    worse = output_error(rows - rounded, covariance) > output_error(rows - nearest, covariance)
    rounded[worse] = nearest[worse]
    return rounded


def output_error(errors: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """float64[..., outputs]: e H e' for each row e of `errors`."""
    found: np.ndarray = np.einsum("...ok,...ok->...o", errors @ covariance, errors)
    return found


def _unit_upper(matrix: np.ndarray) -> np.ndarray:
    """U of matrix = (I + U) D (I + U)', strictly upper triangular; the matrix is positive definite."""
    # A lower factor of the matrix with rows and columns in reverse is an upper one of the matrix itself.
    upper = np.linalg.cholesky(matrix[..., ::-1, ::-1])[..., ::-1, ::-1]
    unit = upper / np.diagonal(upper, axis1=-2, axis2=-1)[..., None, :]
    strict: np.ndarray = np.triu(unit, 1)
    return strict


def _round_in_order(rows: np.ndarray, feedback: np.ndarray, limit: int) -> np.ndarray:
    """Rounds column after column, each mended for the errors of those before it."""
    count = rows.shape[-1]
    rounded = np.empty_like(rows)
    errors = np.zeros_like(rows)
    for start in range(0, count, _BLOCK):
        block = slice(start, min(start + _BLOCK, count))
        wanted = rows[..., block] + errors[..., :start] @ feedback[..., :start, block]
        for column in range(block.start, block.stop):
            inside = errors[..., start:column] @ feedback[..., start:column, column, None]
            mended = wanted[..., column - start] + inside[..., 0]
            rounded[..., column] = np.clip(np.rint(mended), -limit, limit)
            errors[..., column] = rows[..., column] - rounded[..., column]
    return rounded
