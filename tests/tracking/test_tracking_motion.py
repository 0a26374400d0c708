"""Constant-velocity model: what goes on through a loss."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evslam.tracking.motion import ConstantVelocity
from evslam.types import TrackingState

TWIST = np.array([0.3, -0.2, 0.5, 1.0, -2.0, 0.7])
DECAY_S = 0.05
TRACKING, SPARSE, LOST = TrackingState.TRACKING, TrackingState.SPARSE, TrackingState.LOST


def moving() -> ConstantVelocity:
    motion = ConstantVelocity(DECAY_S)
    motion.advance(0.1, TWIST, TRACKING)
    return motion


def test_nothing_is_known_at_first() -> None:
    motion = ConstantVelocity(DECAY_S)
    assert (motion.state, motion.known, motion.twist.tolist()) == (TrackingState.STARTING, False, [0] * 6)


def test_a_measured_twist_is_expected_to_go_on() -> None:
    motion = moving()
    assert motion.twist.tolist() == TWIST.tolist()
    motion.correct(np.array([0.1, 0.2, 0.3]))
    assert motion.twist.tolist() == [*TWIST[:3], 0.1, 0.2, 0.3]


@pytest.mark.parametrize("state", [SPARSE, LOST])
def test_without_measurement_the_last_twist_goes_on_and_decays(state: TrackingState) -> None:
    """By exp(-1) in a time constant, whatever was estimated meanwhile."""
    motion = moving()
    motion.advance(DECAY_S, -9 * TWIST, state)
    assert motion.twist == pytest.approx(TWIST * np.exp(-1))


@given(st.lists(st.floats(1e-6, 0.1), min_size=1, max_size=6))
def test_the_decay_does_not_depend_on_how_a_gap_is_cut(durations: list[float]) -> None:
    whole, parts = moving(), moving()
    whole.advance(sum(durations), TWIST, SPARSE)
    for duration in durations:
        parts.advance(duration, TWIST, SPARSE)
    assert whole.twist == pytest.approx(parts.twist, rel=1e-12)


@pytest.mark.parametrize("state", [SPARSE, LOST])
def test_a_gyroscope_bridges_instead(state: TrackingState) -> None:
    motion = moving()
    motion.advance(0.02, -9 * TWIST, state, bridge=2 * TWIST)
    assert motion.twist.tolist() == (2 * TWIST).tolist()
    motion.advance(0.02, TWIST, TRACKING, bridge=2 * TWIST)
    assert motion.twist.tolist() == TWIST.tolist()


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
    for each in states:
        motion.advance(0.001, TWIST, each)
    assert (motion.state, motion.known) == (state, known)


def test_state_survives_a_file_and_goes_on() -> None:
    motion, resumed = moving(), ConstantVelocity(DECAY_S)
    motion.advance(0.05, TWIST, LOST)
    file = io.BytesIO()
    torch.save(motion.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file))
    assert (resumed.state, resumed.twist.tolist()) == (LOST, motion.twist.tolist())
    for each in (motion, resumed):
        each.advance(0.04, TWIST, LOST)
    assert resumed.twist.tolist() == motion.twist.tolist()
