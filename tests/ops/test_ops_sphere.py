"""Images of events on the sphere: compiled kernels against `bin_events` with autograd, seam, poles, mass."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import Tensor

from evslam.errors import ConfigError
from evslam.ops.sphere import SphereContrast, SphereGrid, bin_on_sphere, sphere_events

KERNELS = {1: "linear", 2: "quadratic", 3: "cubic"}
NODES = np.linspace(0, 0.2, 9)


def scene(seed: int = 0, count: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Times (N,) and bearings (N, 2) of events that crowd around a few points."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.6, 0.6, (60, 2))
    bearing = points[rng.integers(0, 60, count)] + rng.normal(0, 0.003, (count, 2))
    return np.sort(rng.uniform(0, 0.2, count)), bearing.astype(np.float32)


def rotations(seed: int, first: Rotation) -> np.ndarray:
    turns = np.cumsum(np.random.default_rng(seed).normal(0, 0.02, (len(NODES), 3)), 0)
    return np.asarray((Rotation.from_rotvec(turns) * first).as_matrix())


def skew(phi: Tensor) -> Tensor:
    x, y, z = phi.unbind(1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)


def by_autograd(
    t: np.ndarray, bearing: np.ndarray, matrices: np.ndarray, grid: SphereGrid
) -> tuple[float, np.ndarray, np.ndarray]:
    """Contrast, torques and image by the plain twin."""
    phi = torch.zeros(len(NODES), 3, dtype=torch.float64, requires_grad=True)
    moved = torch.from_numpy(matrices) + skew(phi) @ torch.from_numpy(matrices)
    before = np.searchsorted(NODES, t, side="right") - 1
    share = torch.from_numpy((t - NODES[before]) / (NODES[before + 1] - NODES[before]))[:, None]
    ray = torch.cat([torch.from_numpy(bearing).double(), torch.ones(len(t), 1, dtype=torch.float64)], 1)
    ends = (torch.einsum("nij,nj->ni", moved[before + k], ray) for k in (0, 1))
    direction = (1 - share) * next(ends) + share * next(ends)
    image = bin_on_sphere(direction, grid.width, KERNELS[grid.degree], grid.gradient)
    value = image.square().sum() / len(t)
    value.backward()
    assert phi.grad is not None
    return float(value.detach()), phi.grad.numpy(), image.detach().numpy()


@pytest.mark.parametrize("first", [Rotation.identity(), Rotation.from_euler("yx", [178, 20], degrees=True)])
@pytest.mark.parametrize(("degree", "gradient"), [(1, "functional"), (2, "functional"), (3, "functional"), (2, "raw")])
def test_value_and_torque_equal_autograd(degree: int, gradient: str, first: Rotation) -> None:
    (t, bearing), matrices, grid = scene(), rotations(1, first), SphereGrid(512, degree, gradient)
    contrast = SphereContrast(sphere_events(t, bearing, NODES), grid)
    value, torque, _ = contrast.gradient(matrices)
    exact, slope, image = by_autograd(t, bearing, matrices, grid)
    assert value == pytest.approx(exact, rel=1e-5)
    assert np.abs(grid.pixels(contrast.image) - image).max() < 1e-3
    assert np.abs(torque - slope).max() < 1e-5 * np.abs(slope).max()
    cosine = (torque * slope).sum() / np.linalg.norm(torque) / np.linalg.norm(slope)
    assert cosine == pytest.approx(1, abs=1e-9)
    assert np.abs((torque - slope).mean()) < 1e-6 * np.abs(slope).max()  # no signed bias


@given(seed=st.integers(0, 1000), yaw=st.floats(-np.pi, np.pi), pitch=st.floats(-0.6, 0.6), roll=st.floats(-3, 3))
@settings(max_examples=20, deadline=None)
def test_mass_is_conserved_across_the_seam(seed: int, yaw: float, pitch: float, roll: float) -> None:
    (t, bearing), grid = scene(seed, 500), SphereGrid(256, 2)
    matrices = rotations(seed, Rotation.from_euler("YXZ", [yaw, pitch, roll]))
    flat = grid.zeros()
    SphereContrast(sphere_events(t, bearing, NODES, weight=0.5), grid).add_to(flat, matrices)
    assert grid.pixels(flat).sum() == pytest.approx(250, rel=1e-4)


def test_a_turn_about_the_vertical_shifts_the_image() -> None:
    (t, bearing), grid = scene(), SphereGrid(360, 2)
    images = []
    for yaw in (0.0, 40.0, 200.0):
        flat = grid.zeros()
        still = np.broadcast_to(Rotation.from_euler("y", yaw, degrees=True).as_matrix(), (len(NODES), 3, 3))
        SphereContrast(sphere_events(t, bearing, NODES), grid).add_to(flat, still)
        images.append(grid.pixels(flat).copy())
    for yaw, image in zip((40, 200), images[1:], strict=True):
        assert np.abs(np.roll(images[0], yaw, axis=1) - image).max() < 2e-3


def test_background_counts_as_union() -> None:
    (t, bearing), grid, matrices = scene(), SphereGrid(256, 2), rotations(2, Rotation.identity())
    events = sphere_events(t, bearing, NODES)
    below, own = grid.zeros(), grid.zeros()
    SphereContrast(events, grid).add_to(own, matrices)
    SphereContrast(sphere_events(*scene(5), NODES), grid).add_to(below, matrices)
    both = grid.pixels(below).astype(float) + grid.pixels(own)
    expected = ((both**2).sum() - (grid.pixels(below).astype(float) ** 2).sum()) / len(t)
    kept = below.copy()
    assert SphereContrast(events, grid, below).value(matrices) == pytest.approx(expected, rel=1e-5)
    assert np.array_equal(below, kept)  # the map is not touched


def test_what_does_not_belong_is_left_out() -> None:
    t, bearing = scene(count=100)
    bearing[3] = np.nan
    bearing[7, 1] = np.inf
    events = sphere_events(t, bearing, NODES[2:5])
    inside = (t >= NODES[2]) & (t < NODES[4]) & np.isfinite(bearing).all(1)
    assert events.num_events == inside.sum()
    assert (events.columns[3] == 1).sum() == inside.sum()
    assert np.isfinite(events.columns).all()


def test_directions_at_the_pole_do_no_harm() -> None:
    (t, bearing), grid = scene(), SphereGrid(256, 2)
    up = np.broadcast_to(Rotation.from_euler("x", 89.99, degrees=True).as_matrix(), (len(NODES), 3, 3))
    value, torque, products = SphereContrast(sphere_events(t, bearing, NODES), grid).gradient(up)
    assert np.isfinite(value)
    assert np.isfinite(torque).all()
    assert np.isfinite(products).all()


@pytest.mark.parametrize(
    ("width", "degree", "gradient", "words"),
    [(256, 0, "raw", "no slope"), (256, 2, "sigmoid", "choose one of"), (15, 2, "functional", "even number")],
)
def test_wrong_grids_are_refused(width: int, degree: int, gradient: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SphereGrid(width, degree, gradient)


@pytest.mark.parametrize("yaw", [0, 170])
def test_a_second_thread_changes_nothing(yaw: float) -> None:
    (t, bearing), grid = scene(), SphereGrid(512, 2)
    matrices = rotations(1, Rotation.from_euler("y", yaw, degrees=True))
    events, below = sphere_events(t, bearing, NODES), grid.zeros()
    SphereContrast(sphere_events(*scene(5), NODES), grid).add_to(below, matrices)
    alone = SphereContrast(events, grid, below)
    with ThreadPoolExecutor(1) as helper:
        shared = SphereContrast(events, grid, below, helper)
        assert shared.value(matrices) == pytest.approx(alone.value(matrices), rel=1e-6)
        assert np.abs(shared.image - alone.image).max() < 1e-5
        results = [shared.gradient(matrices) for _ in range(20)]
    _, torque, products = alone.gradient(matrices)
    assert all(each[0] == results[0][0] and np.array_equal(each[1], results[0][1]) for each in results)
    assert np.abs(results[0][1] - torque).max() < 1e-5 * np.abs(torque).max()
    assert np.abs(results[0][2] - products).max() < 1e-5 * np.abs(products).max()


@pytest.mark.parametrize("count", [0, 1, 20, 3000])
def test_shares_are_whole_intervals(count: int) -> None:
    events = sphere_events(*scene(count=count), NODES)
    shares = events.shares(3)
    lanes = events.columns.shape[1] // max(len(events.interval), 1)
    assert (shares[0][0], shares[-1][1]) == (0, events.columns.shape[1])
    for (_, stop), (start, _) in pairwise(shares):
        assert stop == start
        assert start in (0, events.columns.shape[1]) or np.diff(events.interval)[start // lanes - 1] > 0
    if count == 3000:
        assert max(stop - start for start, stop in shares) < 0.5 * events.columns.shape[1]
