"""Pose graph of similarities: poses and scales that agree best with measured relations, some of which may be false."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from evslam.geometry.similarity import Similarity, cross_matrix

_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-6, 1e-12, 1e6
_ACCEPTED, _REJECTED = 0.1, 10.0  # factors of the damping
_CONVERGED = 1e-5  # relative decrease of the cost
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
        nodes: N similarities; the first is as it was.
        error: (E,) of each relation, in standard deviations.
        history: cost at the start and after each accepted step.
    """

    nodes: Similarity
    error: np.ndarray
    history: tuple[float, ...]


def optimise_graph(nodes: Similarity, relations: Relations, max_iterations: int) -> GraphResult:
    """Nodes with the least robust error, by Levenberg-Marquardt on the sparse normal equations.

    Args:
        nodes: N similarities (from a node's frame to the world) to start from; the first stays.
        relations: of these nodes; all nodes are connected to the first.
        max_iterations: most steps tried.
    """
    error = _errors(nodes, relations)
    history, damping = [_cost(error, relations.kernel)], _FIRST_DAMPING
    normal = _linearise(nodes, relations, error)
    for _ in range(max_iterations):
        step = _solve(*normal, damping)
        moved = nodes.retract(step)
        error = _errors(moved, relations)
        cost = _cost(error, relations.kernel)
        if cost < history[-1]:
            nodes, damping = moved, max(damping * _ACCEPTED, _LEAST_DAMPING)
            history.append(cost)
            if history[-2] - cost <= _CONVERGED * history[-2]:
                break
            normal = _linearise(nodes, relations, error)
        elif damping >= _MOST_DAMPING or history[-1] == 0.0:
            break
        else:
            damping *= _REJECTED
    return GraphResult(nodes, np.linalg.norm(_errors(nodes, relations), axis=1), tuple(history))


def _errors(nodes: Similarity, relations: Relations) -> np.ndarray:
    """(E, 7) in standard deviations."""
    between = nodes[relations.first].inverse() @ nodes[relations.second]
    return np.asarray((relations.measured.inverse() @ between).chart() / relations.sigma)


def _cost(error: np.ndarray, kernel: np.ndarray) -> float:
    square = (error**2).sum(1)
    robust = np.isfinite(kernel)
    scale = kernel[robust] ** 2
    return 0.5 * float(square[~robust].sum() + (scale * np.log1p(square[robust] / scale)).sum())


def _linearise(nodes: Similarity, relations: Relations, error: np.ndarray) -> tuple[csc_array, np.ndarray]:
    """Hessian (7 N - 7, 7 N - 7) and gradient (7 N - 7,) of the cost by all nodes but the first."""
    by_first, by_second = _jacobians(nodes, relations)
    weight = 1 / (1 + (error**2).sum(1) / relations.kernel**2)
    count = len(nodes)
    gradient, rows, columns, values = np.zeros((count, 7)), [], [], []
    ends = ((relations.first, by_first), (relations.second, by_second))
    within = np.arange(7)
    for node_a, jacobian_a in ends:
        weighted = weight[:, None, None] * jacobian_a
        np.add.at(gradient, node_a, np.einsum("eki,ek->ei", weighted, error))
        for node_b, jacobian_b in ends:
            block = np.einsum("eki,ekj->eij", weighted, jacobian_b)
            row = 7 * (node_a[:, None, None] - 1) + within[:, None]
            column = 7 * (node_b[:, None, None] - 1) + within
            free = ((node_a > 0) & (node_b > 0))[:, None, None]
            row, column, free = np.broadcast_arrays(row, column, free)
            free = free & np.ones_like(block, bool)
            rows.append(np.broadcast_to(row, block.shape)[free])
            columns.append(np.broadcast_to(column, block.shape)[free])
            values.append(block[free])
    place = np.concatenate(rows), np.concatenate(columns)
    size = 7 * (count - 1)
    return csc_array((np.concatenate(values), place), shape=(size, size)), gradient[1:].ravel()


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


def _solve(hessian: csc_array, gradient: np.ndarray, damping: float) -> np.ndarray:
    """Step (N, 7) of all nodes; the first node's is zero."""
    diagonal = hessian.diagonal()
    damped = hessian.copy()
    damped.setdiag(diagonal * (1 + damping) + _SMALL)
    factor = splu(damped, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return np.concatenate([np.zeros(7), factor.solve(-gradient)]).reshape(-1, 7)
