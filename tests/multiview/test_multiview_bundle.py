from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dense_bundle import cost, normal_equations, stepped
from scenes import FOCAL, Scene, make_scene, move

from evslam.errors import SolverError
from evslam.multiview import bundle
from evslam.multiview.bundle import BundleProblem, BundleSettings, adjust, normalise_scale, reduced_hessian
from evslam.multiview.observations import Observations

SETTINGS = BundleSettings(scale_px=1.0, max_iterations=50, tolerance=1e-9)


def disturbed(scene: Scene, num_fixed: int = 2, size: float = 0.02, seed: int = 1) -> BundleProblem:
    """The scene with noise on the poses after the first ones, and on the points."""
    rng = np.random.default_rng(seed)
    poses = scene.T_cam_world.copy()
    for c in range(num_fixed, len(poses)):
        poses[c] = move(poses[c], rng.normal(0, size, 6))
    points = scene.points + rng.normal(0, size, scene.points.shape)
    return BundleProblem(poses, np.arange(len(poses)) >= num_fixed, points, scene.observations, FOCAL)


def one_step(problem: BundleProblem, damping: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Poses and points after one damped step, and its predicted decrease."""
    data = bundle._data(problem, SETTINGS.scale_px)
    sizes = (int(problem.is_free.sum()), len(problem.points), len(problem.observations))
    normal, eliminated = bundle._normal(*sizes), bundle._eliminated(*sizes)
    state = (problem.T_cam_world.copy(), problem.points.copy())
    new_state = (state[0].copy(), state[1].copy())
    value = bundle._linearise(problem, state, data, normal)
    np.testing.assert_allclose(value, cost(problem, SETTINGS.scale_px), rtol=1e-12)
    decrease = bundle._try_step(state, data, normal, damping, eliminated, new_state)
    return *new_state, decrease


def test_step_equals_the_dense_step() -> None:
    problem = disturbed(make_scene(5, 8, 6), size=0.002)
    hessian, gradient = normal_equations(problem, SETTINGS.scale_px)
    step = np.linalg.solve(hessian + 1e-3 * np.diag(np.diag(hessian)), -gradient)
    poses, points, decrease = one_step(problem, 1e-3)
    expected = stepped(problem, step)
    size = np.abs(step).max()
    np.testing.assert_allclose(poses, expected.T_cam_world, atol=1e-8 * size)
    np.testing.assert_allclose(points, expected.points, atol=1e-8 * size)
    np.testing.assert_allclose(decrease, -0.5 * gradient @ step, rtol=1e-8)


def test_step_of_cameras_that_keep_their_rotation_equals_the_dense_step_of_all_else() -> None:
    problem = replace(disturbed(make_scene(5, 8, 6), size=0.002), may_turn=False)
    hessian, gradient = normal_equations(problem, SETTINGS.scale_px)
    moves = np.ones(len(gradient), bool)
    moves[: 6 * 3].reshape(3, 6)[:, :3] = False  # three free cameras
    damped = (hessian + 1e-3 * np.diag(np.diag(hessian)))[np.ix_(moves, moves)]
    step = np.zeros(len(gradient))
    step[moves] = np.linalg.solve(damped, -gradient[moves])
    poses, points, decrease = one_step(problem, 1e-3)
    expected, size = stepped(problem, step), np.abs(step).max()
    np.testing.assert_allclose(poses, expected.T_cam_world, atol=1e-8 * size)
    np.testing.assert_array_equal(poses[:, :3, :3], problem.T_cam_world[:, :3, :3])
    np.testing.assert_allclose(points, expected.points, atol=1e-8 * size)
    np.testing.assert_allclose(decrease, -0.5 * gradient @ step, rtol=1e-8)


def test_cameras_that_keep_a_right_rotation_come_back_to_their_places() -> None:
    scene = make_scene(5, 30, 0)
    start = scene.T_cam_world.copy()
    start[2:, :3, 3] += np.random.default_rng(2).normal(0, 0.02, (3, 3))
    problem = BundleProblem(start, np.arange(5) >= 2, scene.points + 0.02, scene.observations, FOCAL, may_turn=False)
    result = adjust(problem, SETTINGS)
    np.testing.assert_array_equal(result.T_cam_world[:, :3, :3], scene.T_cam_world[:, :3, :3])
    np.testing.assert_allclose(result.T_cam_world, scene.T_cam_world, atol=1e-6)
    np.testing.assert_allclose(result.points, scene.points, atol=1e-5)


def test_two_threads_take_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = disturbed(make_scene(5, 8, 6))
    alone = one_step(problem, 1e-3)
    monkeypatch.setattr(bundle, "_MANY", 2)
    for one, other in zip(alone, one_step(problem, 1e-3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_guesses_pull_towards_where_they_were() -> None:
    scene = make_scene(5, 8, 0)
    spread = np.zeros_like(scene.points)
    spread[::2] = 0.1 * scene.points[::2]
    free, pulled = disturbed(scene), replace(disturbed(scene), spread=spread)
    moved, values, normals = free.points + 0.03, [], []
    for problem in (free, pulled):
        data = bundle._data(problem, SETTINGS.scale_px)
        normals.append(bundle._normal(3, len(moved), len(problem.observations)))
        values.append(bundle.linearise(problem.T_cam_world, moved, data, 0, len(moved), normals[-1]))
    along = spread[::2] / np.linalg.norm(spread[::2], axis=1, keepdims=True)
    sigmas = (0.03 * along).sum(1) / np.linalg.norm(spread[::2], axis=1)
    np.testing.assert_allclose(values[1] - values[0], 0.5 * (sigmas**2).sum(), rtol=1e-6)
    pull = along / np.linalg.norm(spread[::2], axis=1, keepdims=True)
    gradient = normals[1].point_gradient - normals[0].point_gradient
    np.testing.assert_allclose(gradient[::2], sigmas[:, None] * pull, rtol=1e-6, atol=1e-9)
    assert not gradient[1::2].any()
    hessian = np.triu(np.einsum("pa,pb->pab", pull, pull))
    np.testing.assert_allclose((normals[1].point - normals[0].point)[::2], hessian, rtol=1e-6, atol=1e-8)


def test_reduced_hessian_is_the_schur_complement() -> None:
    scene = make_scene(5, 8, 0)
    result = adjust(disturbed(scene, size=0.002), SETTINGS)
    end = BundleProblem(result.T_cam_world, np.arange(5) >= 2, result.points, scene.observations, FOCAL)
    h, _ = normal_equations(end, SETTINGS.scale_px)
    expected = h[:18, :18] - h[:18, 18:] @ np.linalg.solve(h[18:, 18:], h[18:, :18])
    np.testing.assert_allclose(reduced_hessian(end, SETTINGS.scale_px), expected, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("num_edges", [0, 60])
def test_recovers_a_disturbed_scene(num_edges: int) -> None:
    scene = make_scene(num_edges=num_edges)
    problem = disturbed(scene)
    result = adjust(problem, SETTINGS)
    assert result.status == "converged"
    np.testing.assert_allclose(result.T_cam_world, scene.T_cam_world, atol=1e-6)
    np.testing.assert_allclose(result.points, scene.points, atol=1e-6)
    assert result.error_px.max() < 1e-6
    np.testing.assert_array_equal(result.T_cam_world[:2], problem.T_cam_world[:2])


def test_one_fixed_camera_leaves_the_scale_to_the_helper() -> None:
    scene = make_scene()
    problem = disturbed(scene, num_fixed=1)
    result = adjust(problem, SETTINGS)
    poses, points = normalise_scale(scene.T_cam_world, result.T_cam_world, result.points)
    np.testing.assert_array_equal(poses[0], scene.T_cam_world[0])
    np.testing.assert_allclose(poses, scene.T_cam_world, atol=1e-6)
    np.testing.assert_allclose(points, scene.points, atol=1e-5)


def test_outliers_hardly_move_the_result() -> None:
    scene = make_scene(num_points=80, num_edges=0)
    rng = np.random.default_rng(3)
    wrong = rng.random(len(scene.observations)) < 0.2
    noise = rng.normal(0, 0.1, (len(wrong), 2)) + wrong[:, None] * rng.uniform(-30, 30, (len(wrong), 2))
    seen = replace(scene.observations, bearing=scene.observations.bearing + noise / FOCAL)
    problem = disturbed(replace(scene, observations=seen))
    result, squares = adjust(problem, SETTINGS), adjust(problem, replace(SETTINGS, scale_px=1e3))
    error, of_squares = (np.abs(r.T_cam_world - scene.T_cam_world).max() for r in (result, squares))
    assert error < 0.1 * of_squares
    assert np.median(result.error_px[~wrong]) < 0.2


def test_history_falls_to_the_cost_of_the_twin() -> None:
    scene = make_scene()
    noisy = scene.observations.bearing + np.random.default_rng(2).normal(
        0, 0.3 / FOCAL, scene.observations.bearing.shape
    )
    problem = disturbed(replace(scene, observations=replace(scene.observations, bearing=noisy)), size=0.05)
    result = adjust(problem, BundleSettings(1.0, 4, 0.0))
    assert result.status == "max_iterations"
    assert (np.diff(result.history) < 0).all()
    end = replace(problem, T_cam_world=result.T_cam_world, points=result.points)
    np.testing.assert_allclose(result.cost, cost(end, 1.0), rtol=1e-9)


def test_a_point_seen_across_an_edge_does_not_move_along_it() -> None:
    pose = np.tile(np.eye(4), (2, 1, 1))
    pose[1, 0, 3] = -0.5
    normal = np.array([[0.0, 1.0], [0.0, 1.0]])
    seen = Observations(np.array([0, 1]), np.zeros(2, int), np.array([[0.0, 0.1], [-0.25, 0.1]]), normal, np.ones(2))
    point = np.array([[0.3, 0.25, 2.0]])
    result = adjust(BundleProblem(pose, np.zeros(2, bool), point, seen, FOCAL), SETTINGS)
    assert result.points[0, 0] == point[0, 0]
    np.testing.assert_allclose(result.points[0, 1] / result.points[0, 2], 0.1, atol=1e-8)


def test_fixed_and_unseen_points_stay() -> None:
    problem = disturbed(make_scene())
    seen = problem.observations
    kept = seen.point != 5
    fewer = Observations(*(v[kept] for v in (seen.view, seen.point, seen.bearing, seen.normal, seen.weight)))
    is_free_point = np.arange(len(problem.points)) >= 4
    result = adjust(replace(problem, observations=fewer, is_free_point=is_free_point), SETTINGS)
    np.testing.assert_array_equal(result.points[[0, 1, 2, 3, 5]], problem.points[[0, 1, 2, 3, 5]])
    assert (result.points[6:] != problem.points[6:]).any(1).all()


def test_points_behind_the_camera_count_as_fifty_pixels() -> None:
    pose = np.eye(4)[None]
    seen = Observations.of_points(np.array([0]), np.array([0]), np.zeros((1, 2)))
    point = np.array([[0.0, 0.0, -1.0]])
    result = adjust(BundleProblem(pose, np.ones(1, bool), point, seen, FOCAL), SETTINGS)
    assert result.error_px[0] == 50.0
    np.testing.assert_array_equal(result.points, point)
    np.testing.assert_allclose(result.cost, 0.5 * np.log1p(2500.0))


def test_nothing_to_adjust() -> None:
    none = Observations.of_points(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2)))
    problem = BundleProblem(np.eye(4)[None], np.ones(1, bool), np.zeros((0, 3)), none, FOCAL)
    result = adjust(problem, SETTINGS)
    assert (result.status, result.cost) == ("converged", 0.0)
    np.testing.assert_array_equal(reduced_hessian(problem, SETTINGS.scale_px), np.eye(6))


def test_observations_that_do_not_fit_are_named() -> None:
    problem = disturbed(make_scene())
    with pytest.raises(SolverError, match="of 3"):
        adjust(replace(problem, T_cam_world=problem.T_cam_world[:3], is_free=problem.is_free[:3]), SETTINGS)
    with pytest.raises(SolverError, match="flags"):
        adjust(replace(problem, is_free=problem.is_free[:3]), SETTINGS)
