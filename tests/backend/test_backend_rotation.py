"""Rotational bundle adjustment: derivatives, curvature, recovery of a known motion, growth, resumption."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from turning_points import FOCAL, batches, error_deg, events, omega, sway

from evslam.backend.rotation_adjustment import Priors, SplineContrast, sharpen
from evslam.backend.rotation_trajectory import RotationTrajectory, panorama_grid
from evslam.config import load_config
from evslam.errors import ConfigError
from evslam.geometry.spline import RotationSpline
from evslam.ops.sphere import SphereContrast, SphereGrid, sphere_events

CONFIG = load_config().adjust
KNOTS = 0.1 * np.arange(-3, 14)
NODES = np.linspace(0, 1, 81)


def problem(gradient: str = "raw", num_free: int = 13, prior: Priors | None = None) -> SplineContrast:
    """Contrast of one second of the sway, from a start that errs by a third of a degree."""
    t, bearing = events(sway, 0, 1, 20_000)
    noise = np.random.default_rng(1).normal(0, 0.003, (13, 3))
    spline = RotationSpline.fit(KNOTS, NODES, sway(NODES))
    spline = RotationSpline(KNOTS, Rotation.from_rotvec(noise) * spline.control)
    contrast = SphereContrast(sphere_events(t, bearing, NODES), SphereGrid(512, 2, gradient))
    return SplineContrast(contrast, spline.at(NODES), spline, num_free, prior or Priors(0.01, 0.001, FOCAL))


@pytest.mark.parametrize("num_free", [13, 5])
def test_gradient_is_the_finite_difference(num_free: int) -> None:
    """With the raw estimator of smooth bins the gradient is that of the value."""
    each, step = problem(num_free=num_free), 3e-4
    delta = np.random.default_rng(2).normal(0, 0.01, (num_free, 3))
    _, slope = each.gradient(delta)
    numeric = np.zeros_like(slope)
    for index in np.ndindex(*slope.shape):
        moved = np.zeros_like(delta)
        moved[index] = step
        numeric[index] = (each.gradient(delta + moved)[0] - each.gradient(delta - moved)[0]) / (2 * step)
    assert np.linalg.norm(numeric - slope) < 0.01 * np.linalg.norm(slope)
    assert (numeric * slope).sum() / np.linalg.norm(numeric) / np.linalg.norm(slope) > 0.9999


def test_curvature_is_positive_and_banded_as_the_dense_matrix() -> None:
    each = problem()
    band = each.curvature()
    dense = np.zeros((39, 39))
    for d in range(len(band)):
        for k in range(39 - d):
            dense[k + d, k] = dense[k, k + d] = band[d, k]
    assert np.linalg.eigvalsh(dense).min() > 0
    information, jacobian = each._information, each._start[-1]
    expected = np.zeros((39, 39))
    for s in range(80):
        wide = np.zeros((3, 39))
        for j in range(4):
            wide[:, 3 * (each.samples.first[s] + j) : 3 * (each.samples.first[s] + j) + 3] = jacobian[s, j]
        expected += wide.T @ information[s] @ wide
    rest = dense - expected  # priors and floor: the same in all axes
    assert np.abs(rest[0::3, 1::3]).max() < 1e-9 * np.abs(dense).max()
    assert np.abs(rest[0::3, 0::3] - rest[1::3, 1::3]).max() < 1e-9 * np.abs(dense).max()


def test_sharpening_recovers_the_motion() -> None:
    each = problem("functional", prior=Priors(1e-4, 1e-5, FOCAL))
    before = error_deg(sway(NODES), each.samples.rotation(Rotation.from_quat(each.control)))
    control, evaluations = sharpen(each, 60, 1e-7)
    after = error_deg(sway(NODES), each.samples.rotation(control))
    assert evaluations <= 61
    assert before > 0.15
    assert after < 0.03


def test_a_break_lets_the_trajectory_jump() -> None:
    times = np.arange(10.0)
    assert Priors(1, 1, 1).held(times).all()
    assert Priors(1, 1, 1, ((4.5, 4.5),)).held(times).tolist() == [True, True, False, False, False, True, True]
    gap = Priors(1, 1, 1, ((2.5, 7.2),))
    assert gap.held(times).tolist() == [False] * 7
    assert np.flatnonzero(gap.tied(times)).tolist() == [2, 3, 4]


def grown(stop: float = 1.0) -> tuple[RotationTrajectory, SphereGrid, np.ndarray]:
    """A trajectory whose front-end errs by 3 % in speed."""
    trajectory = RotationTrajectory(CONFIG, FOCAL, 0, omega(sway, 0.01))
    grid = panorama_grid(CONFIG, 512)
    flat = grid.zeros()
    for each in batches(sway, stop):
        trajectory.extend(each, 1.03 * omega(sway, each.t_ref_us * 1e-6))
        trajectory.take(each)
        trajectory.adjust(grid, flat)
        left = trajectory.retire()
        if left is not None:
            SphereContrast(left[0], grid).add_to(flat, left[1])
    return trajectory, grid, flat


@pytest.fixture(scope="module")
def trajectory() -> RotationTrajectory:
    return grown()[0]


def test_window_tracks_and_refinement_improves(trajectory: RotationTrajectory) -> None:
    t_us = np.arange(10_000, 990_000, 10_000)
    online = error_deg(sway(t_us * 1e-6), Rotation.from_quat(trajectory.poses(t_us)[:, 3:]))
    refined = RotationTrajectory.from_state(CONFIG, FOCAL, trajectory.state_dict())
    refined.refine()
    final = error_deg(sway(t_us * 1e-6), Rotation.from_quat(refined.poses(t_us)[:, 3:]))
    assert online < 0.15
    assert final < 0.04
    assert Rotation.from_quat(refined.poses(np.array([0]))[0, 3:]).magnitude() < 1e-9  # the world is the first view
    assert np.degrees(np.abs(refined.omega(t_us)[20] - omega(sway, t_us[20] * 1e-6)).max()) < 1.5


def test_events_are_thinned_and_none_is_lost(trajectory: RotationTrajectory) -> None:
    kept = sum(len(t) for t, _ in trajectory.kept) + len(trajectory.recent[0])
    limit = CONFIG.events_per_knot * trajectory.num_intervals
    assert 0.3 * limit < kept <= 1.05 * limit
    assert trajectory.retired == trajectory.num_intervals - CONFIG.window_knots
    image = trajectory.panorama(512)
    assert image.sum() == pytest.approx(kept, rel=1e-3)


def test_memory_is_bounded() -> None:
    small = dataclasses.replace(CONFIG, max_events=5000)
    trajectory = RotationTrajectory(small, FOCAL, 0, omega(sway, 0.01))
    for each in batches(sway, 1.0):
        trajectory.extend(each, omega(sway, each.t_ref_us * 1e-6))
        trajectory.take(each)
        trajectory.retire()
    assert sum(len(t) for t, _ in trajectory.kept) <= 5000
    assert trajectory.stride > 1


def test_state_round_trip(trajectory: RotationTrajectory) -> None:
    again = RotationTrajectory.from_state(CONFIG, FOCAL, trajectory.state_dict())
    t_us = np.arange(0, 1_000_000, 7_000)
    assert np.array_equal(again.poses(t_us), trajectory.poses(t_us))
    following = next(iter(batches(sway, 0.02)))
    following = dataclasses.replace(following, start_us=1_000_000, t_ref_us=1_010_000, stop_us=1_020_000)
    for each in (again, trajectory):
        each.extend(following, np.array([0.1, 0.2, 0.3]))
    assert np.array_equal(again.poses(np.array([1_015_000])), trajectory.poses(np.array([1_015_000])))


def test_knots_follow_the_speed() -> None:
    slow, fast = (RotationTrajectory(CONFIG, FOCAL, 0, np.array([0, rate, 0])) for rate in (0.1, 6.0))
    assert np.diff(slow.knots)[0] == pytest.approx(CONFIG.knot_s[1])
    assert np.diff(fast.knots)[0] == pytest.approx(CONFIG.knot_s[0])


def test_unknown_kernel_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"adjust.kernel is 'box'"):
        panorama_grid(dataclasses.replace(CONFIG, kernel="box"), 512)
