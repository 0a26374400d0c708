"""Constant-velocity model: poses from twists, and what goes on through a loss."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evslam.geometry.lie import SE3
from evslam.tracking.motion import ConstantVelocity
from evslam.types import EventBatch, TrackingState

TWIST = np.array([0.3, -0.2, 0.5, 1.0, -2.0, 0.7])
DECAY_S = 0.05
TRACKING, SPARSE, LOST = TrackingState.TRACKING, TrackingState.SPARSE, TrackingState.LOST


def batch(start_us: int, stop_us: int) -> EventBatch:
    none = torch.empty(0)
    return EventBatch((start_us + stop_us) // 2, start_us, stop_us, none, none.reshape(0, 2), none.bool())


def travelled(twist: np.ndarray, time_us: float) -> list[float]:
    """T_world_cam after a time under a constant twist."""
    return SE3.exp(torch.from_numpy(twist * time_us * 1e-6)).vec().tolist()


@given(
    st.lists(st.floats(-2, 2), min_size=6, max_size=6).map(np.array),
    st.lists(st.integers(1, 200_000), min_size=1, max_size=6),
)
def test_a_constant_twist_integrates_to_its_exponential(twist: np.ndarray, durations: list[int]) -> None:
    """Poses at t_ref and at the end, whatever the cuts."""
    motion = ConstantVelocity(DECAY_S)
    ends = [0, *itertools.accumulate(durations)]
    for start, stop in itertools.pairwise(ends):
        pose = motion.advance(batch(start, stop), twist, TRACKING)
        matrix = SE3.InitFromVec(pose).matrix()
        expected = SE3.exp(torch.from_numpy(twist * ((start + stop) // 2) * 1e-6)).matrix()
        assert float((matrix - expected).abs().max()) < 1e-12
    end = SE3.exp(torch.from_numpy(twist * ends[-1] * 1e-6)).matrix()
    assert float((motion.T_world_cam.matrix() - end).abs().max()) < 1e-12


def test_twists_are_in_the_moving_camera_frame() -> None:
    """A quarter turn about y, then one metre along the camera's z: that is the world's x."""
    motion = ConstantVelocity(DECAY_S)
    motion.advance(batch(0, 1_000_000), np.array([0, 0, 0, 0, np.pi / 2, 0]), TRACKING)
    motion.advance(batch(1_000_000, 2_000_000), np.array([0, 0, 1.0, 0, 0, 0]), TRACKING)
    assert motion.T_world_cam.vec()[:3].tolist() == pytest.approx([1, 0, 0], abs=1e-12)


def test_the_world_is_the_first_camera_frame() -> None:
    motion = ConstantVelocity(DECAY_S)
    assert motion.T_world_cam.vec().tolist() == [0, 0, 0, 0, 0, 0, 1]
    assert (motion.state, motion.known) == (TrackingState.STARTING, False)
    assert motion.advance(batch(0, 1000), np.zeros(6), SPARSE).tolist() == [0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("state", [SPARSE, LOST])
def test_without_measurement_the_last_twist_goes_on_and_decays(state: TrackingState) -> None:
    """By exp(-1) in a time constant, whatever was estimated meanwhile."""
    motion = ConstantVelocity(DECAY_S)
    motion.advance(batch(0, 100_000), TWIST, TRACKING)
    start = motion.T_world_cam
    pose = motion.advance(batch(100_000, 150_000), -9 * TWIST, state)
    assert motion.twist == pytest.approx(TWIST * np.exp(-1))
    assert (start.inv() * SE3.InitFromVec(pose)).vec().tolist() == pytest.approx(coasted(0.025), abs=1e-12)
    assert (start.inv() * motion.T_world_cam).vec().tolist() == pytest.approx(coasted(0.05), abs=1e-12)


def coasted(seconds: float) -> list[float]:
    """Motion since the last measurement: the integral of a rate that decays."""
    distance = DECAY_S * (1 - np.exp(-seconds / DECAY_S))
    return SE3.exp(torch.from_numpy(TWIST * distance)).vec().tolist()


def test_coasting_does_not_depend_on_how_a_gap_is_cut() -> None:
    whole, parts = ConstantVelocity(DECAY_S), ConstantVelocity(DECAY_S)
    for motion in (whole, parts):
        motion.advance(batch(0, 100_000), TWIST, TRACKING)
    whole.advance(batch(100_000, 160_000), TWIST, SPARSE)
    for start in (100_000, 120_000, 140_000):
        parts.advance(batch(start, start + 20_000), TWIST, SPARSE)
    assert whole.T_world_cam.vec().tolist() == pytest.approx(parts.T_world_cam.vec().tolist(), abs=1e-12)


def test_a_long_rest_keeps_the_pose() -> None:
    motion = ConstantVelocity(DECAY_S)
    motion.advance(batch(0, 100_000), TWIST, TRACKING)
    motion.advance(batch(100_000, 3_100_000), TWIST, SPARSE)
    rested = motion.T_world_cam.vec().tolist()
    motion.advance(batch(3_100_000, 9_100_000), TWIST, SPARSE)
    assert motion.T_world_cam.vec().tolist() == pytest.approx(rested, abs=1e-12)


@pytest.mark.parametrize(
    ("states", "state", "known"),
    [
        ([SPARSE], TrackingState.STARTING, False),
        ([SPARSE, TRACKING], TRACKING, True),
        ([TRACKING, SPARSE], SPARSE, True),
        ([TRACKING, LOST], LOST, False),
        ([LOST], TrackingState.STARTING, False),
        ([SPARSE, LOST], TrackingState.STARTING, False),
        ([TRACKING, LOST, TRACKING], TRACKING, True),
    ],
)
def test_what_is_known_after_a_sequence_of_states(
    states: list[TrackingState], state: TrackingState, known: bool
) -> None:
    motion = ConstantVelocity(DECAY_S)
    for i, each in enumerate(states):
        motion.advance(batch(1000 * i, 1000 * (i + 1)), TWIST, each)
    assert (motion.state, motion.known) == (state, known)


def test_state_survives_a_file_and_goes_on() -> None:
    motion, resumed = ConstantVelocity(DECAY_S), ConstantVelocity(DECAY_S)
    motion.advance(batch(0, 100_000), TWIST, TRACKING)
    motion.advance(batch(100_000, 150_000), TWIST, LOST)
    file = io.BytesIO()
    torch.save(motion.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file))
    assert (resumed.state, resumed.twist.tolist()) == (LOST, motion.twist.tolist())
    following = batch(150_000, 190_000)
    assert resumed.advance(following, TWIST, LOST).tolist() == motion.advance(following, TWIST, LOST).tolist()
