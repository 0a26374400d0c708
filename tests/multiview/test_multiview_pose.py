from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import FOCAL, make_scene, move, project
from scipy.spatial.transform import Rotation

from evslam.errors import SolverError
from evslam.multiview.observations import Observations
from evslam.multiview.pose import PoseSettings, estimate_pose, robust_rotation
from evslam.multiview.triangulation import triangulate

SETTINGS = PoseSettings(FOCAL, scale_px=1.0, iterations=20)


def view_of_points(num_edges: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pose, points, bearings and normals of what the first camera of the scene sees."""
    scene = make_scene(num_edges=num_edges)
    mine = scene.observations.view == 0
    seen = scene.observations
    return scene.T_cam_world[0], scene.points[seen.point[mine]], seen.bearing[mine], seen.normal[mine]


def test_pose_is_recovered() -> None:
    pose, points, bearing, normal = view_of_points()
    start = move(pose, np.random.default_rng(0).normal(0, 0.01, 6))
    fit = estimate_pose(start, points, bearing, normal, np.ones(len(points)), SETTINGS)
    np.testing.assert_allclose(fit.T_cam_world, pose, atol=1e-8)


def test_outliers_hardly_move_the_pose() -> None:
    pose, points, bearing, normal = view_of_points()
    rng, weight = np.random.default_rng(0), np.ones(len(points))
    wrong = rng.random(len(points)) < 0.2
    seen = bearing + wrong[:, None] * rng.uniform(0.05, 0.1, bearing.shape)
    robust = estimate_pose(pose, points, seen, normal, weight, SETTINGS)
    squares = estimate_pose(pose, points, seen, normal, weight, replace(SETTINGS, scale_px=1e3))
    error, of_squares = (np.abs(fit.T_cam_world - pose).max() for fit in (robust, squares))
    assert error < 0.1 * of_squares


def test_weight_counts_like_repeated_points() -> None:
    pose, points, bearing, normal = view_of_points()
    bearing = bearing + np.random.default_rng(0).normal(0, 1 / FOCAL, bearing.shape)
    weight = np.where(np.arange(len(points)) < 20, 2.0, 1.0)
    weighted = estimate_pose(pose, points, bearing, normal, weight, SETTINGS)
    more = (np.concatenate([a, a[:20]]) for a in (points, bearing, normal, np.ones(len(points))))
    repeated = estimate_pose(pose, *more, SETTINGS)
    np.testing.assert_allclose(weighted.T_cam_world, repeated.T_cam_world, atol=1e-6)
    np.testing.assert_allclose(weighted.cost, repeated.cost, rtol=1e-9)


def test_inverse_hessian_is_the_covariance() -> None:
    pose, points, bearing, _ = view_of_points(0)
    rng, steps, sigma_px = np.random.default_rng(0), [], 0.2
    settings = PoseSettings(FOCAL, scale_px=20.0, iterations=20)
    for _ in range(400):
        seen = bearing + rng.normal(0, sigma_px / FOCAL, bearing.shape)
        fit = estimate_pose(pose, points, seen, None, np.ones(len(points)), settings)
        turn = fit.T_cam_world @ np.linalg.inv(pose)
        steps.append(np.r_[Rotation.from_matrix(turn[:3, :3]).as_rotvec(), turn[:3, 3]])
    expected = np.sqrt(np.diag(np.linalg.inv(fit.hessian))) * sigma_px
    np.testing.assert_allclose(np.std(steps, axis=0), expected, rtol=0.15)


def test_covariance_covers_the_errors_of_points_and_edges() -> None:
    """In the camera frame of T_world_cam, with the noise estimated from the errors, outliers among them."""
    pose, points, bearing, normal = view_of_points()
    rng, normalised, variances = np.random.default_rng(0), [], []
    settings = PoseSettings(FOCAL, scale_px=1.5, iterations=20)
    for _ in range(300):
        seen = bearing + rng.normal(0, 0.4 / FOCAL, bearing.shape)
        seen[:3] += rng.uniform(0.05, 0.1, (3, 2))
        fit = estimate_pose(pose, points, seen, normal, np.ones(len(points)), settings)
        change = fit.T_cam_world @ np.linalg.inv(pose)  # T_est_true
        error = np.r_[change[:3, 3], Rotation.from_matrix(change[:3, :3]).as_rotvec()]
        normalised.append(error @ np.linalg.solve(fit.covariance, error))
        variances.append(fit.variance)
    assert np.mean(normalised) == pytest.approx(6, rel=0.35)
    assert np.median(normalised) == pytest.approx(5.35, rel=0.35)
    assert np.sqrt(np.mean(variances)) == pytest.approx(0.4, rel=0.2)


def test_points_on_a_ray_leave_the_pose_open() -> None:
    points = np.array([[0.0, 0.0, z] for z in (1.0, 2.0, 3.0)])
    fit = estimate_pose(np.eye(4), points, np.zeros((3, 2)), None, np.ones(3), SETTINGS)
    assert np.isnan(fit.covariance).all()


def test_pose_without_points_stays() -> None:
    fit = estimate_pose(np.eye(4), np.zeros((0, 3)), np.zeros((0, 2)), None, np.zeros(0), SETTINGS)
    np.testing.assert_array_equal(fit.T_cam_world, np.eye(4))
    assert fit.cost == 0.0
    assert np.isnan(fit.covariance).all()


def test_lengths_that_differ_are_named() -> None:
    with pytest.raises(SolverError, match=r"\(2, 1, 1, 2\)"):
        estimate_pose(np.eye(4), np.zeros((2, 3)), np.zeros((1, 2)), None, np.zeros(2), SETTINGS)


def test_rotation_is_exact_despite_outliers() -> None:
    rng = np.random.default_rng(0)
    a = np.column_stack([rng.uniform(-0.5, 0.5, (60, 2)), np.ones(60)])
    rotation = Rotation.from_rotvec([0.1, -0.2, 0.05]).as_matrix()
    found, angle = robust_rotation(a, a @ rotation.T, 1)
    np.testing.assert_allclose(found, rotation, atol=1e-12)
    assert angle.max() < 1e-12
    b = a @ rotation.T
    b[:12] += rng.uniform(0.1, 0.3, (12, 3))
    found, angle = robust_rotation(a[:, :2], b, 30)
    np.testing.assert_allclose(found, rotation, atol=1e-4)
    assert angle[:12].min() > 0.01
    found, angle = robust_rotation(np.zeros((0, 2)), np.zeros((0, 2)), 5)
    np.testing.assert_array_equal(found, np.eye(3))


@pytest.mark.parametrize("num_edges", [0, 20])
def test_triangulation_is_exact(num_edges: int) -> None:
    scene = make_scene(num_points=10, num_edges=num_edges)
    result = triangulate(scene.T_cam_world, scene.observations, len(scene.points))
    assert result.in_front.all()
    np.testing.assert_allclose(result.points, scene.points, atol=1e-7)
    centre = -np.einsum("cji,cj->ci", scene.T_cam_world[:, :3, :3], scene.T_cam_world[:, :3, 3])
    for p in range(len(scene.points)):
        ray = scene.points[p] - centre[scene.observations.view[scene.observations.point == p]]
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        np.testing.assert_allclose(result.angle[p], np.arccos((ray @ ray.T).min()), rtol=1e-6)


def test_parallel_single_and_backward_rays_are_not_in_front() -> None:
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, 0, 3] = -1.0
    behind = project(poses, np.tile([0.3, 0.1, -2.0], (2, 1)))
    bearing = np.concatenate([np.full((2, 2), 0.25), np.zeros((1, 2)), behind])
    seen = Observations.of_points(np.array([0, 1, 0, 0, 1]), np.array([0, 0, 1, 2, 2]), bearing)
    result = triangulate(poses, seen, 4)
    assert not result.in_front.any()
    np.testing.assert_array_equal(result.angle[[0, 1, 3]], 0.0)
    np.testing.assert_allclose(result.points[2], [0.3, 0.1, -2.0], atol=1e-12)
