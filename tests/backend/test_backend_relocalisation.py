"""Finding a packet's place on the panorama, and going on after a loss."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from turning_points import FOCAL, Motion, batches, error_deg, events, omega, sky, sway

from evslam.backend.relocalisation import cube_of_turns, find_place
from evslam.config import load_config
from evslam.ops.sphere import SphereContrast, SphereGrid, sphere_events
from evslam.panoramic import PanoramicTracker
from evslam.types import TrackingState

CONFIG = load_config()
SEARCH = CONFIG.relocalise


@pytest.fixture(scope="module")
def panorama() -> tuple[SphereGrid, np.ndarray]:
    nodes, grid = np.linspace(0, 2, 401), SphereGrid(1024, 2)
    flat = grid.zeros()
    SphereContrast(sphere_events(*events(sway, 0, 2, 60_000), nodes), grid).add_to(flat, sway(nodes).as_matrix())
    return grid, flat


@pytest.mark.parametrize("offset_deg", [(0, 0, 0), (4, -3, 2), (-5, 5, 1)])
def test_place_is_found(panorama: tuple[SphereGrid, np.ndarray], offset_deg: tuple[float, ...]) -> None:
    nodes = np.linspace(0.7, 0.72, 5)
    packet = sphere_events(*events(sway, 0.7, 0.72, 2000, seed=9), nodes)
    offset = Rotation.from_rotvec(np.radians(offset_deg))
    near = cube_of_turns(np.radians(8), np.radians(2))
    place = find_place(packet, (offset * sway(nodes)).as_matrix(), panorama, near, SEARCH)
    assert np.degrees((place.turn * offset).magnitude()) < 0.1
    assert place.agreement > 0.3


def test_elsewhere_is_told(panorama: tuple[SphereGrid, np.ndarray]) -> None:
    """Another sky fits nowhere."""
    nodes, near = np.linspace(0.7, 0.72, 5), cube_of_turns(np.radians(8), np.radians(2))
    for seed in range(1, 6):
        packet = sphere_events(*events(sway, 0.7, 0.72, 2000, seed, sky(seed=seed)), nodes)
        assert find_place(packet, sway(nodes).as_matrix(), panorama, near, SEARCH).agreement < SEARCH.min_agreement


def test_cube_of_turns() -> None:
    turns = cube_of_turns(0.3, 0.1).as_rotvec()
    assert np.linalg.norm(turns, axis=1).max() < 0.3 + 1e-9
    assert len(turns) == 123  # lattice points in a ball of radius 3
    assert np.abs(turns[len(turns) // 2]).max() < 1e-12


def kidnapped(t: np.ndarray) -> Rotation:
    """The sway, but from 1.2 s on somewhere it was 0.6 s before."""
    return sway(np.where(t < 1.2, t, t - 0.6))


def follow(motion: Motion, states: dict[int, TrackingState], stop: float = 2.0) -> tuple[PanoramicTracker, list[str]]:
    """Track with a perfect front-end; `states` by number of the batch replace TRACKING."""
    tracker, seen = PanoramicTracker(CONFIG, FOCAL), []
    for k, each in enumerate(batches(motion, stop)):
        rate = omega(motion, each.t_ref_us * 1e-6)
        _, state, _ = tracker.take(each, rate, states.get(k, TrackingState.TRACKING))
        seen.append(state.value)
    return tracker, seen


def test_goes_on_in_the_same_map_after_a_loss() -> None:
    lost = dict.fromkeys(range(60, 64), TrackingState.LOST)
    tracker, states = follow(kidnapped, lost)
    assert set(states[60:64]) == {"lost"}
    assert set(states[66:]) == {"tracking"}  # found again within 50 ms of seeing known space
    assert tracker.trajectory is not None
    t_us = np.concatenate([np.arange(100_000, 1_100_000, 20_000), np.arange(1_400_000, 1_950_000, 20_000)])
    estimate = Rotation.from_quat(tracker.trajectory.poses(t_us)[:, 3:])
    assert error_deg(kidnapped(t_us * 1e-6), estimate) < 0.3


def test_a_short_rest_is_bridged_without_loss() -> None:
    tracker, states = follow(sway, dict.fromkeys(range(40, 43), TrackingState.SPARSE))
    assert states[40:43] == ["sparse"] * 3
    assert "lost" not in states
    assert tracker.trajectory is not None
    t_us = np.arange(1_000_000, 1_950_000, 20_000)
    assert error_deg(sway(t_us * 1e-6), Rotation.from_quat(tracker.trajectory.poses(t_us)[:, 3:])) < 0.3


def test_state_round_trip() -> None:
    tracker, _ = follow(sway, {}, stop=0.6)
    again = PanoramicTracker(CONFIG, FOCAL)
    again.load_state_dict(tracker.state_dict())
    following = list(batches(sway, 0.7))[30:]
    for each in (tracker, again):
        for batch in following:
            each.take(batch, omega(sway, batch.t_ref_us * 1e-6), TrackingState.TRACKING)
    assert tracker.trajectory is not None
    assert again.trajectory is not None
    t_us = np.arange(0, 700_000, 10_000)
    assert np.array_equal(tracker.trajectory.poses(t_us), again.trajectory.poses(t_us))
    assert np.array_equal(tracker.panorama.image, again.panorama.image)


def test_patience_ends_in_new_space() -> None:
    """What was never seen cannot be found: after a while the expected rotation is taken."""
    impatient = dataclasses.replace(
        CONFIG, relocalise=dataclasses.replace(SEARCH, patience_s=0.1, min_agreement=1e9, min_agreement_far=1e9)
    )
    tracker = PanoramicTracker(impatient, FOCAL)
    states = []
    for k, each in enumerate(batches(sway, 0.6)):
        told = TrackingState.LOST if k == 10 else TrackingState.TRACKING
        states.append(tracker.take(each, omega(sway, each.t_ref_us * 1e-6), told)[1].value)
    assert states[10:15] == ["lost"] * 5
    assert "tracking" in states[15:18]
