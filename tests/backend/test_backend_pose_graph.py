"""Pose graph of similarities: derivatives, a dense numeric reference, false loops, scale drift, size."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from evslam.backend.pose_graph import Relations, optimise_graph
from evslam.geometry.lie import Sim3
from evslam.geometry.similarity import Similarity


def random_similarities(rng: np.random.Generator, number: int, spread: float = 1.0) -> Similarity:
    turn = Rotation.from_rotvec(rng.normal(0, 0.7 * spread, (number, 3))).as_matrix()
    return Similarity(turn, rng.normal(0, spread, (number, 3)), np.exp(rng.normal(0, 0.2 * spread, number)))


def in_torch(similarity: Similarity) -> Sim3:
    turn = Rotation.from_matrix(similarity.rotation).as_quat()
    return Sim3(torch.from_numpy(np.column_stack([similarity.translation, turn, similarity.scale])))


def path(number: int, rounds: float) -> Similarity:
    """Circles of radius 10 that rise and fall; true poses of scale 1."""
    angle = np.linspace(0, 2 * np.pi * rounds, number)
    place = np.stack([10 * np.cos(angle), 10 * np.sin(angle), np.sin(3 * angle)], 1)
    turn = Rotation.from_rotvec(angle[:, None] * np.array([0.0, 0.0, 1.0])).as_matrix()
    return Similarity(turn, place, np.ones(number))


def steps_and_loops(true: Similarity, pairs: np.ndarray, drift: float, rng: np.random.Generator) -> Relations:
    """Steps whose scale drifts, and exact loops between pairs (L, 2)."""
    first = np.arange(len(true) - 1)
    noise = rng.normal(0, 1, (len(first), 7)) * np.repeat([0.002, 0.0005, 0.0], (3, 3, 1))
    noise[:, 6] = drift
    steps = (true[first].inverse() @ true[first + 1]).retract(noise)
    loops = true[pairs[:, 0]].inverse() @ true[pairs[:, 1]]
    number = len(first) + len(pairs)
    return Relations(
        np.concatenate([first, pairs[:, 0]]),
        np.concatenate([first + 1, pairs[:, 1]]),
        Similarity.join([steps, loops]),
        np.full((number, 7), 0.01),
        np.concatenate([np.full(len(first), np.inf), np.full(len(pairs), 1.5)]),
    )


def chained(relations: Relations, number: int) -> Similarity:
    """Nodes by the steps alone."""
    nodes = [Similarity.of_poses(np.eye(4)[None])]
    for index in range(number - 1):
        nodes.append(nodes[-1] @ relations.measured[[index]])
    return Similarity.join(nodes)


def test_similarities_agree_with_lie_groups() -> None:
    rng = np.random.default_rng(0)
    a, b, points = random_similarities(rng, 4), random_similarities(rng, 4), rng.normal(0, 1, (4, 5, 3))
    both = in_torch(a) * in_torch(b).inv()
    mine = a @ b.inverse()
    expected = (both[:, None] * torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(mine.apply(points), expected, atol=1e-12)
    np.testing.assert_allclose((a.inverse() @ a).chart(), 0, atol=1e-12)


@pytest.mark.parametrize("fixed", [1, 3])
def test_graph_agrees_with_a_dense_numeric_solver(fixed: int) -> None:
    rng = np.random.default_rng(1)
    true, pairs = random_similarities(rng, 6), np.array([[0, 3], [1, 5], [5, 0]])
    relations = steps_and_loops(true, pairs, 0.02, rng)
    kernel = np.full(len(relations.first), 1.5)
    relations = Relations(relations.first, relations.second, relations.measured, relations.sigma, kernel)
    start = true.retract(rng.normal(0, 0.05, (6, 7)))
    found = optimise_graph(start, relations, 100, fixed=fixed)

    def residuals(steps: np.ndarray) -> np.ndarray:
        nodes = start.retract(np.concatenate([np.zeros(7 * fixed), steps]).reshape(6, 7))
        between = nodes[relations.first].inverse() @ nodes[relations.second]
        error = (relations.measured.inverse() @ between).chart() / relations.sigma
        size = np.linalg.norm(error, axis=1)
        return np.asarray(1.5 * np.sqrt(np.log1p((size / 1.5) ** 2)))

    dense = least_squares(residuals, np.zeros(7 * (6 - fixed)), max_nfev=30)
    assert found.history[-1] <= dense.cost * (1 + 1e-2)
    assert list(found.history) == sorted(found.history, reverse=True)
    stay = slice(0, fixed)
    np.testing.assert_allclose(found.nodes[stay].translation, start[stay].translation, atol=1e-14)
    np.testing.assert_allclose(found.nodes[stay].rotation, start[stay].rotation, atol=1e-14)
    assert np.linalg.norm((found.nodes.inverse() @ start).chart()[fixed:], axis=1).min() > 1e-3


def test_scale_drift_is_corrected_in_spite_of_false_loops() -> None:
    rng = np.random.default_rng(2)
    true = _from_first(path(300, 2))
    good = np.stack([np.arange(0, 140, 10), np.arange(0, 140, 10) + 150], 1)
    relations = steps_and_loops(true, good, 0.002, rng)
    false = rng.integers(0, 300, (6, 2))
    false = false[np.abs(false[:, 0] - false[:, 1]) > 20]
    wrong = random_similarities(rng, len(false))
    relations = Relations(
        np.concatenate([relations.first, false[:, 0]]),
        np.concatenate([relations.second, false[:, 1]]),
        Similarity.join([relations.measured, wrong]),
        np.full((len(relations.first) + len(false), 7), 0.01),
        np.concatenate([relations.kernel, np.full(len(false), 1.5)]),
    )
    start = chained(relations, 300)
    found = optimise_graph(start, relations, 50)
    before = np.linalg.norm(start.translation - true.translation, axis=1).max()
    after = np.linalg.norm(found.nodes.translation - true.translation, axis=1)
    assert before > 5
    assert after[150:].max() < 1.5 * 0.2 * before
    loops = found.error[299:]
    assert (loops[: len(good)] < 1.5).all()
    assert (loops[len(good) :] > 10).all()


def test_five_thousand_keyframes_close_within_seconds() -> None:
    rng = np.random.default_rng(3)
    true = _from_first(path(5000, 10))
    old = np.arange(0, 4400, 7)
    relations = steps_and_loops(true, np.stack([old, old + 500], 1), 0.0002, rng)
    start = chained(relations, 5000)
    began = time.process_time()
    found = optimise_graph(start, relations, 30)
    assert time.process_time() - began < 10  # 0.8 s on an idle machine
    error = np.linalg.norm(found.nodes.translation - true.translation, axis=1)
    assert error.max() < 0.1 * np.linalg.norm(start.translation - true.translation, axis=1).max()


def _from_first(nodes: Similarity) -> Similarity:
    """The same nodes in the frame of the first."""
    number = len(nodes)
    return nodes[np.zeros(number, int)].inverse() @ nodes
