"""A full turn closes by itself, and the check of it tells when one does not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from turning_points import FOCAL, batches, error_deg, omega

from evslam.backend.closure import revisits
from evslam.config import load_config
from evslam.panoramic import PanoramicTracker
from evslam.types import TrackingState

CONFIG = load_config()
STOP = 5.0


def spin(t: np.ndarray) -> Rotation:
    """A little more than one turn about the vertical in five seconds, nodding."""
    return Rotation.from_euler("YX", np.stack([1.45 * t, 0.1 * np.sin(2 * t)], 1))


@pytest.fixture(scope="module")
def turned() -> PanoramicTracker:
    """Tracked with a front-end that overestimates the speed by 2 %."""
    tracker = PanoramicTracker(CONFIG, FOCAL)
    for each in batches(spin, STOP, step_us=40_000, count=2500):
        tracker.take(each, 1.02 * omega(spin, each.t_ref_us * 1e-6), TrackingState.TRACKING)
    return tracker


def test_a_full_turn_closes(turned: PanoramicTracker) -> None:
    trajectory = turned.trajectory
    assert trajectory is not None
    t_us = np.arange(100_000, 4_900_000, 50_000)
    dead_reckoning = np.degrees(0.02 * 1.45 * STOP)
    online = error_deg(spin(t_us * 1e-6), Rotation.from_quat(trajectory.poses(t_us)[:, 3:]))
    trajectory.refine()
    final = error_deg(spin(t_us * 1e-6), Rotation.from_quat(trajectory.poses(t_us)[:, 3:]))
    assert online < 0.2 * dead_reckoning
    assert final < 0.15
    found = revisits(trajectory, CONFIG.relocalise)
    assert found
    assert max(each.error_deg for each in found) < 0.2


def test_an_open_turn_is_told(turned: PanoramicTracker) -> None:
    """The same turn, its second half displaced by two degrees."""
    assert turned.trajectory is not None
    trajectory = turned.trajectory.from_state(CONFIG.adjust, FOCAL, turned.trajectory.state_dict())
    offset = Rotation.from_rotvec(np.radians([0, 2.0, 0]))
    half = len(trajectory.control) // 2
    trajectory.control[half:] = list((offset * Rotation.from_quat(np.array(trajectory.control[half:]))).as_quat())
    errors = [each.error_deg for each in revisits(trajectory, CONFIG.relocalise)]
    assert errors
    assert np.median(errors) == pytest.approx(2.0, abs=0.3)


def test_nothing_to_compare() -> None:
    tracker = PanoramicTracker(CONFIG, FOCAL)
    for each in batches(spin, 0.3):
        tracker.take(each, omega(spin, each.t_ref_us * 1e-6), TrackingState.TRACKING)
    assert tracker.trajectory is not None
    assert revisits(tracker.trajectory, CONFIG.relocalise) == []
