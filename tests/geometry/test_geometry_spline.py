"""Rotation spline: the formula by scipy, derivatives by finite differences, recovery of known motions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation

from evslam.errors import DataError
from evslam.geometry import spline_kernels
from evslam.geometry.spline import RotationSpline, control_times


def random_spline(seed: int, degree: int, angle: float = 0.4, count: int = 10) -> RotationSpline:
    rng = np.random.default_rng(seed)
    knots = np.cumsum(rng.uniform(0.5, 1.5, count + degree + 1))
    turns = Rotation.from_rotvec(rng.normal(0, angle, (count, 3)))
    control = [turns[0]]
    for k in range(1, count):
        control.append(control[-1] * turns[k])
    return RotationSpline(knots, Rotation.concatenate(control), degree)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_compiled_rotation_is_the_formula(degree: int) -> None:
    spline = random_spline(1, degree)
    samples = spline.at(np.linspace(*spline.span, 40))
    matrices, _ = samples.jacobian(spline.control.as_quat())
    formula = samples.rotation(spline.control).as_matrix()
    assert np.abs(matrices - formula).max() < 1e-12
    assert np.abs(spline.rotation(np.linspace(*spline.span, 40)).as_matrix() - formula).max() < 1e-12


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_basis_is_scipy_s(degree: int) -> None:
    spline = random_spline(6, degree)
    t = np.append(np.linspace(*spline.span, 50), spline.knots[degree + 2])
    samples = spline.at(t)
    dense = np.zeros((len(t), 10))
    np.put_along_axis(dense, samples.first[:, None] + np.arange(degree + 1), samples.weights, 1)
    assert np.abs(dense - BSpline.design_matrix(t, spline.knots, degree).toarray()).max() < 1e-12


@given(seed=st.integers(0, 10_000), degree=st.integers(1, 3), angle=st.floats(1e-6, 0.9))
@settings(max_examples=25, deadline=None)
def test_jacobian_is_the_finite_difference(seed: int, degree: int, angle: float) -> None:
    spline, step = random_spline(seed, degree, angle, count=6), 1e-6
    samples = spline.at(np.linspace(*spline.span, 9))
    _, jacobian = samples.jacobian(spline.control.as_quat())
    for k in range(6):
        for axis in range(3):
            delta = np.zeros((6, 3))
            delta[k, axis] = step
            ahead, behind = (samples.rotation(Rotation.from_rotvec(sign * delta) * spline.control) for sign in (1, -1))
            numeric = (ahead * behind.inv()).as_rotvec() / (2 * step)
            exact = np.zeros((9, 3))
            for j in range(degree + 1):
                rows = samples.first + j == k
                exact[rows] = jacobian[rows, j, :, axis]
            assert np.abs(numeric - exact).max() < 1e-7


@given(seed=st.integers(0, 10_000), size=st.sampled_from([0.0, 1e-14, 1e-6, 0.3, 3.0]))
@settings(max_examples=25, deadline=None)
def test_the_last_control_rotations_are_turned_from_the_left(seed: int, size: float) -> None:
    control = random_spline(seed, 3, count=7).control
    delta = size * np.random.default_rng(seed).normal(size=(4, 3))
    turned = Rotation.from_quat(spline_kernels.turned(control.as_quat(), delta))
    assert (turned[:3] * control[:3].inv()).magnitude().max() < 1e-12
    assert (turned[3:] * (Rotation.from_rotvec(delta) * control[3:]).inv()).magnitude().max() < 1e-12


def test_a_turn_of_all_control_rotations_turns_the_curve() -> None:
    spline = random_spline(3, 3)
    _, jacobian = spline.at(np.linspace(*spline.span, 30)).jacobian(spline.control.as_quat())
    assert np.abs(jacobian.sum(1) - np.eye(3)).max() < 1e-12


def test_pull_back_is_the_adjoint() -> None:
    spline, rng = random_spline(4, 3), np.random.default_rng(0)
    samples = spline.at(np.linspace(*spline.span, 25))
    _, jacobian = samples.jacobian(spline.control.as_quat())
    torque, delta = rng.normal(size=(25, 3)), rng.normal(size=(10, 3))
    moved = np.einsum("sjik,sjk->si", jacobian, delta[samples.first[:, None] + np.arange(4)])
    pulled = spline_kernels.pull_back(samples.first, jacobian, torque, 10)
    assert (moved * torque).sum() == pytest.approx((pulled * delta).sum(), rel=1e-12)


def test_blocks_are_the_dense_product() -> None:
    spline, rng = random_spline(5, 3), np.random.default_rng(0)
    samples = spline.at(np.linspace(*spline.span, 12))
    _, jacobian = samples.jacobian(spline.control.as_quat())
    root = rng.normal(size=(12, 3, 3))
    information = root @ root.transpose(0, 2, 1)
    dense = np.zeros((30, 30))
    for s in range(12):
        wide = np.zeros((3, 30))
        for j in range(4):
            wide[:, 3 * (samples.first[s] + j) : 3 * (samples.first[s] + j) + 3] = jacobian[s, j]
        dense += wide.T @ information[s] @ wide
    blocks = np.zeros((10, 4, 3, 3))
    spline_kernels.blocks(samples.first, jacobian, information, blocks)
    for k in range(10):
        for d in range(min(4, 10 - k)):
            assert np.abs(blocks[k, d] - dense[3 * k : 3 * k + 3, 3 * (k + d) : 3 * (k + d) + 3]).max() < 1e-12


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, 0.01, 0.5, 3.0])
def test_left_jacobian_and_its_inverse(angle: float) -> None:
    vector, step = angle * np.array([0.6, -0.48, 0.64]), 1e-6
    exact, inverse = np.empty((3, 3)), np.empty((3, 3))
    spline_kernels.left_jacobian(vector, exact)
    spline_kernels.inverse_left_jacobian(vector, inverse)
    for axis in range(3):
        delta = step * np.eye(3)[axis]
        turn = Rotation.from_rotvec(vector + delta) * Rotation.from_rotvec(vector - delta).inv()
        assert np.abs(turn.as_rotvec() / (2 * step) - exact[:, axis]).max() < 1e-8
    assert np.abs(exact @ inverse - np.eye(3)).max() < 1e-9


def test_constant_angular_velocity_is_exact() -> None:
    knots, omega = np.arange(12.0), np.array([0.1, -0.2, 0.15])
    control = Rotation.from_rotvec(control_times(knots, 3)[:, None] * omega)
    spline = RotationSpline(knots, control)
    t = np.linspace(*spline.span, 17)
    assert np.abs((spline.rotation(t).inv() * Rotation.from_rotvec(t[:, None] * omega)).magnitude()).max() < 1e-12
    assert np.abs(spline.angular_velocity(t) - omega).max() < 1e-9


def test_fit_recovers_a_smooth_motion() -> None:
    t = np.linspace(0, 2, 400)
    truth = Rotation.from_euler("xyz", np.stack([np.sin(2 * t), 0.5 * np.cos(3 * t), 0.8 * t], 1))
    spline = RotationSpline.fit(0.1 * np.arange(-3, 24), t, truth)
    assert (spline.rotation(t).inv() * truth).magnitude().max() < 2e-4


def test_times_outside_are_refused() -> None:
    spline = random_spline(2, 3)
    with pytest.raises(DataError, match="the spline covers"):
        spline.rotation(np.array([spline.span[1] + 0.1]))
