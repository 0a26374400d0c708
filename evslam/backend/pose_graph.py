"""Pose graph of similarities: poses and scales that agree best with measured relations, some of which may be false."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import bsr_array, coo_array, csc_array
from scipy.sparse.linalg import splu

from evslam.geometry.similarity import Similarity, cross_matrix

_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-6, 1e-12, 1e6
_ACCEPTED, _REJECTED = 0.1, 10.0  # factors of the damping
_SMALL = 1e-8


@dataclass(frozen=True)
class Relations:
    """Measured relations between nodes.

    Attributes:
        first, second: (E,) int64, nodes.
        measured: E similarities, inverse(first) @ second.
        sigma: (E, 7) standard deviations of translation, rotation, logarithm of scale.
        kernel: (E,) Cauchy scale in standard deviations; infinite for relations that cannot be false.
    """

    first: np.ndarray
    second: np.ndarray
    measured: Similarity
    sigma: np.ndarray
    kernel: np.ndarray


@dataclass(frozen=True)
class GraphResult:
    """Adjusted nodes.

    Attributes:
        nodes: N similarities; the fixed ones are as they were.
        error: (E,) of each relation, in standard deviations.
        history: cost at the start and after each accepted step.
    """

    nodes: Similarity
    error: np.ndarray
    history: tuple[float, ...]


def optimise_graph(
    nodes: Similarity, relations: Relations, max_iterations: int, tolerance: float = 1e-5, fixed: int = 1
) -> GraphResult:
    """Nodes with the least robust error, by Levenberg-Marquardt on the sparse normal equations.

    Args:
        nodes: N similarities (from a node's frame to the world) to start from.
        relations: of these nodes; all nodes are connected to the fixed ones.
        max_iterations: most steps tried.
        tolerance: relative decrease of the cost by a step that is the last one.
        fixed: the first so many nodes stay, at least one.
    """
    error = _errors(nodes, relations)
    history, damping = [_cost(error, relations.kernel)], _FIRST_DAMPING
    equations = _NormalEquations(relations, len(nodes), fixed)
    equations.linearise(nodes, relations, error)
    for _ in range(max_iterations):
        step = equations.solve(damping)
        moved = nodes.retract(step)
        error = _errors(moved, relations)
        cost = _cost(error, relations.kernel)
        if cost < history[-1]:
            nodes, damping = moved, max(damping * _ACCEPTED, _LEAST_DAMPING)
            history.append(cost)
            if history[-2] - cost <= tolerance * history[-2]:
                break
            equations.linearise(nodes, relations, error)
        elif damping >= _MOST_DAMPING or history[-1] == 0.0:
            break
        else:
            damping *= _REJECTED
    return GraphResult(nodes, np.linalg.norm(_errors(nodes, relations), axis=1), tuple(history))


class _NormalEquations:
    """Of a graph. Which nodes are related, and in which order they are eliminated, is worked out once.

    Args:
        relations: between nodes; what they measured does not matter.
        count: N nodes.
        fixed: the first so many stay.
    """

    def __init__(self, relations: Relations, count: int, fixed: int) -> None:
        self.size, self.fixed = count - fixed, fixed
        self._place = _elimination_order(relations.first, relations.second, count, fixed)
        ends = self._place[np.stack([relations.first, relations.second], 1)]
        row, column = ends[:, [0, 0, 1, 1]].ravel(), ends[:, [0, 1, 0, 1]].ravel()
        self._free = np.flatnonzero((row < self.size) & (column < self.size))
        key = (row * count + column)[self._free]
        self._free = self._free[np.argsort(key, kind="stable")]
        block, self._begin = np.unique(np.sort(key), return_index=True)
        self._row, self._column = block // count, block % count
        self._diagonal = np.flatnonzero(self._row == self._column)
        self._blocks, self._gradient = np.zeros((len(block), 7, 7)), np.zeros((count, 7))

    def linearise(self, nodes: Similarity, relations: Relations, error: np.ndarray) -> None:
        """Hessian and gradient of the cost by the free nodes."""
        jacobian = np.stack(_jacobians(nodes, relations), 1)  # (E, 2, 7, 7)
        weight = 1 / (1 + (error**2).sum(1) / relations.kernel**2)
        weighted = np.swapaxes(weight[:, None, None, None] * jacobian, 2, 3)
        blocks = (weighted[:, :, None] @ jacobian[:, None]).reshape(-1, 7, 7)
        self._blocks = np.add.reduceat(blocks[self._free], self._begin)
        self._gradient = np.zeros_like(self._gradient)
        slope = (weighted @ error[:, None, :, None])[..., 0]
        for end, node in enumerate((relations.first, relations.second)):
            np.add.at(self._gradient, node, slope[:, end])

    def solve(self, damping: float) -> np.ndarray:
        """Step (N, 7) of all nodes; that of fixed ones is zero."""
        damped, one = self._blocks.copy(), np.arange(7)
        damped[self._diagonal[:, None], one, one] *= 1 + damping
        damped[self._diagonal[:, None], one, one] += _SMALL
        begin = np.searchsorted(self._row, np.arange(self.size + 1))
        rows = bsr_array((damped, self._column, begin), shape=(7 * self.size, 7 * self.size)).tocsr()
        hessian = csc_array((rows.data, rows.indices, rows.indptr), shape=rows.shape)  # it is symmetric
        factor = splu(hessian, permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        step, gradient = np.zeros_like(self._gradient), np.empty((self.size, 7))
        place = self._place[self.fixed :]
        gradient[place] = self._gradient[self.fixed :]
        step[self.fixed :] = factor.solve(-gradient.ravel()).reshape(-1, 7)[place]
        return step


def _elimination_order(first: np.ndarray, second: np.ndarray, count: int, fixed: int) -> np.ndarray:
    """(N,) when each node is eliminated so that little fills in (minimum degree); fixed ones come after all others."""
    row, column = np.concatenate([first, second]), np.concatenate([second, first])
    degree = np.bincount(row, minlength=count)
    every = np.arange(count)
    place = np.concatenate([row, every]), np.concatenate([column, every])
    graph = coo_array((np.concatenate([-np.ones(len(row)), 1.0 + degree]), place), shape=(count, count)).tocsc()
    free = graph[fixed:, fixed:]
    factor = splu(free, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return np.concatenate([np.arange(count - fixed, count), factor.perm_c])


def _errors(nodes: Similarity, relations: Relations) -> np.ndarray:
    """(E, 7) in standard deviations."""
    between = nodes[relations.first].inverse() @ nodes[relations.second]
    return np.asarray((relations.measured.inverse() @ between).chart() / relations.sigma)


def _cost(error: np.ndarray, kernel: np.ndarray) -> float:
    square = (error**2).sum(1)
    robust = np.isfinite(kernel)
    scale = kernel[robust] ** 2
    return 0.5 * float(square[~robust].sum() + (scale * np.log1p(square[robust] / scale)).sum())


def _jacobians(nodes: Similarity, relations: Relations) -> tuple[np.ndarray, np.ndarray]:
    """(E, 7, 7) of the errors by the steps of the first and of the second nodes, see `Similarity.retract`."""
    between = nodes[relations.first].inverse() @ nodes[relations.second]
    back = relations.measured.inverse()
    error = back @ between
    bend = _rotation_jacobian(error.chart()[:, 3:6])
    count = len(error)
    by_first, by_second = np.zeros((count, 7, 7)), np.zeros((count, 7, 7))
    by_second[:, :3, :3] = error.scale[:, None, None] * error.rotation
    by_second[:, 3:6, 3:6] = bend
    by_second[:, 6, 6] = 1.0
    turned = back.scale[:, None, None] * back.rotation
    by_first[:, :3, :3] = -turned
    by_first[:, :3, 3:6] = turned @ cross_matrix(between.translation)
    by_first[:, :3, 6] = -np.einsum("eij,ej->ei", turned, between.translation)
    by_first[:, 3:6, 3:6] = -bend @ np.swapaxes(between.rotation, 1, 2)
    by_first[:, 6, 6] = -1.0
    return by_first / relations.sigma[:, :, None], by_second / relations.sigma[:, :, None]


def _rotation_jacobian(turn: np.ndarray) -> np.ndarray:
    """(N, 3, 3) J with log(exp(turn) exp(w)) = turn + J w to first order."""
    angle = np.linalg.norm(turn, axis=1)
    safe = np.maximum(angle, _SMALL)
    factor = np.where(angle < 1e-4, 1 / 12, 1 / safe**2 - (1 + np.cos(safe)) / (2 * safe * np.sin(safe)))
    cross = cross_matrix(turn)
    return np.asarray(np.eye(3) + cross / 2 + factor[:, None, None] * (cross @ cross))
