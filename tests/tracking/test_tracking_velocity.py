"""Motion of one batch, recovered from events on whole pixels."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from moving_points import CAMERA, batch, noise, scene, tracker
from torch import Tensor

from evslam.config import load_config
from evslam.errors import ConfigError
from evslam.objective import variance
from evslam.types import EventBatch, TrackingState
from evslam.warp import Canvas, warp_events

REST = np.zeros(6)
FAR = (1e6, 1e6)
PLANE = (1.0, 1.0)
PATIENT = load_config(overrides=["tracker.prior_speed=100", "tracker.prior_px=10"])
LIMITED = load_config(overrides=["batch.min_events=1000", "batch.min_share=0.5", "batch.num_events=40000"])
STRICT = load_config(overrides=["tracker.min_displacement_px=0"])


def rotation(*omega: float) -> Tensor:
    return torch.tensor([0, 0, 0, *omega], dtype=torch.float64)


def angle(a: np.ndarray, b: np.ndarray) -> float:
    """Degrees between two vectors."""
    return math.degrees(math.acos(float(a @ b) / float(np.linalg.norm(a) * np.linalg.norm(b))))


def flow_error_px(events: EventBatch, estimated: np.ndarray, true: Tensor) -> float:
    """RMS difference of the motion compensation by two twists in front of the plane."""
    ends = [warp_events(events.bearing, events.t, torch.as_tensor(twist).float(), 1.0) for twist in (estimated, true)]
    return float((CAMERA.fx * (ends[0] - ends[1])).square().sum(1).mean().sqrt())


@pytest.mark.parametrize("omega", [(0.7, -0.9, 0.4), (3.0, -3.5, 2.0), (0.0, 5.0, 0.0), (-1.0, 0.0, 5.0)])
def test_recovers_a_rotation_from_a_cold_start(omega: tuple[float, float, float]) -> None:
    estimate = tracker("rotation").estimate(batch(scene(FAR), rotation(*omega), 0.04, 20_000), REST, warm=False)
    assert estimate.state is TrackingState.TRACKING
    assert estimate.twist[:3].tolist() == [0, 0, 0]
    assert np.linalg.norm(estimate.twist[3:] - omega) < 0.02 * np.linalg.norm(omega)
    assert estimate.gain > 2


def test_a_warm_start_is_as_good_and_cheaper() -> None:
    events = batch(scene(FAR), rotation(1.0, -2.0, 0.5), 0.04, 20_000)
    each = tracker("rotation")
    cold = each.estimate(events, REST, warm=False)
    warm = each.estimate(events, np.array([0, 0, 0, 0.9, -1.8, 0.6]), warm=True)
    for estimate in (cold, warm):
        assert np.linalg.norm(estimate.twist[3:] - [1, -2, 0.5]) < 0.02 * np.linalg.norm([1, -2, 0.5])
    assert warm.evaluations < cold.evaluations


def test_a_cold_start_does_not_look_at_the_prior() -> None:
    events = batch(scene(FAR), rotation(1.0, -2.0, 0.5), 0.04, 20_000)
    first, second = (tracker("rotation").estimate(events, prior, warm=False) for prior in (REST, np.full(6, 9.0)))
    assert first.twist.tolist() == second.twist.tolist()


def test_a_camera_at_rest_is_tracked() -> None:
    estimate = tracker("rotation").estimate(batch(scene(FAR), rotation(0, 0, 0), 0.04, 20_000), REST, warm=False)
    assert estimate.state is TrackingState.TRACKING
    assert np.abs(estimate.twist).max() < 0.03


@pytest.mark.parametrize("v", [(1.0, 0.0, 0.0), (0.5, -0.7, 0.4), (0.0, 0.0, 1.0)])
def test_recovers_the_translation_in_front_of_a_plane(v: tuple[float, float, float]) -> None:
    """Without the prior the full twist; with it at least the direction of v and the flow."""
    true = torch.tensor([*v, 0, 0, 0], dtype=torch.float64)
    events = batch(scene(PLANE), true, 0.06, 40_000)
    free = tracker("6dof", PATIENT).estimate(events, REST, warm=False)
    assert np.linalg.norm(free.twist - true.numpy()) < 0.08 * np.linalg.norm(v)
    assert angle(free.twist[:3], np.array(v)) < 3
    for warm in (False, True):
        estimate = tracker("6dof").estimate(events, 0.9 * true.numpy(), warm)
        assert estimate.state is TrackingState.TRACKING
        assert angle(estimate.twist[:3], np.array(v)) < 12
        assert flow_error_px(events, estimate.twist, true) < 0.3


def test_a_rotation_is_not_taken_for_a_translation() -> None:
    """In 6-DoF mode the prior on speed decides for the rotation that explains the events as well."""
    estimate = tracker("6dof").estimate(batch(scene(FAR), rotation(1.0, 1.0, 1.0), 0.04, 20_000), REST, warm=False)
    assert np.linalg.norm(estimate.twist[:3]) < 0.05
    assert np.linalg.norm(estimate.twist[3:] - 1) < 0.05


def test_the_objective_is_the_configured_contrast_on_the_canvas() -> None:
    events = noise(10, 0.04)
    each = tracker("6dof", load_config(overrides=["tracker.margin=0.05", "tracker.kernel=cubic"])).contrast(events, 0.5)
    assert each.canvas == Canvas.from_camera(CAMERA, 0.05, 0.5)
    assert (each.kernel, each.gradient, each.measure) == ("cubic", "functional", variance)
    assert (each.inverse_depth, tracker("rotation").contrast(events).inverse_depth) == (1.0, 0.0)


def test_gain_is_contrast_over_that_of_the_uncompensated_batch() -> None:
    events = batch(scene(FAR), rotation(1.0, -2.0, 0.5), 0.04, 20_000)
    each = tracker("rotation")
    estimate = each.estimate(events, REST, warm=False)
    measure = each.contrast(events.thinned(each.config.max_events))
    ratio = measure(torch.from_numpy(estimate.twist).float()) / measure(torch.zeros(6))
    assert estimate.gain == pytest.approx(float(ratio), rel=1e-5)


@pytest.mark.parametrize(("num_events", "duration_s"), [(999, 0.04), (0, 0.04), (19_999, 0.0299)])
def test_few_events_or_a_short_batch_are_bridged(num_events: int, duration_s: float) -> None:
    prior = np.array([0, 0, 0, 1.0, 2.0, 3.0])
    for warm in (False, True):
        cut_off = dataclasses.replace(noise(num_events, duration_s), whole=False)
        estimate = tracker("rotation", LIMITED).estimate(cut_off, prior, warm)
        assert estimate.state is TrackingState.SPARSE
        assert estimate.twist.tolist() == prior.tolist()
        assert (estimate.gain, estimate.evaluations) == (1.0, 0)


@pytest.mark.parametrize(("num_events", "duration_s"), [(1000, 0.03), (20_000, 0.0029)])
def test_enough_events_are_measured(num_events: int, duration_s: float) -> None:
    """The limits are inclusive, and half of a full batch is never too short."""
    estimate = tracker("rotation", LIMITED).estimate(noise(num_events, duration_s), REST, warm=False)
    assert estimate.state is not TrackingState.SPARSE
    assert estimate.evaluations > 0


def test_events_that_do_not_move_together_are_lost() -> None:
    """Every motion put to the test, even the smallest: noise supports none, and the prior comes back."""
    for warm in (False, True):
        prior = np.array([0, 0, 0, 3.0, 0, 2.0])
        estimate = tracker("rotation", STRICT).estimate(noise(20_000, 0.04), prior, warm)
        assert estimate.state is TrackingState.LOST
        assert estimate.twist.tolist() == prior.tolist()
        assert estimate.gain == 1


def test_events_that_move_together_pass_the_same_test() -> None:
    events = batch(scene(FAR), rotation(1.0, -2.0, 0.5), 0.04, 20_000)
    assert tracker("rotation", STRICT).estimate(events, REST, warm=False).state is TrackingState.TRACKING


@pytest.mark.parametrize(("num_events", "state"), [(4_900, TrackingState.SPARSE), (5_100, TrackingState.LOST)])
def test_noise_at_half_the_rate_of_the_last_batch_is_a_camera_at_rest(num_events: int, state: TrackingState) -> None:
    each = tracker("rotation", STRICT)
    moving = each.estimate(batch(scene(FAR), rotation(1.0, -2.0, 0.5), 0.04, 10_000), REST, warm=False)
    estimate = each.estimate(noise(num_events, 0.04), moving.twist, warm=True)
    assert estimate.state is state
    assert estimate.twist.tolist() == moving.twist.tolist()


@pytest.mark.parametrize(("mode", "rate"), [("rotation", -30.0), ("rotation", 8.0), ("6dof", -8.0), ("6dof", 8.0)])
def test_a_wrong_prior_is_left_behind(mode: str, rate: float) -> None:
    true = rotation(0, 1.5, 0)
    prior = np.array([0, 0, 0, rate, 0, 0])
    estimate = tracker(mode).estimate(batch(scene(FAR), true, 0.04, 20_000), prior, warm=True)
    assert estimate.state is TrackingState.TRACKING
    assert np.linalg.norm(estimate.twist[3:] - true[3:].numpy()) < 0.05


def test_noise_is_not_sharpened() -> None:
    assert tracker("rotation").estimate(noise(20_000, 0.04), REST, warm=False).gain < 1.02


@pytest.mark.parametrize("mode", ["rotation", "6dof"])
def test_events_beside_the_canvas_do_not_stop_the_run(mode: str) -> None:
    events = noise(2_000, 0.04)
    beside = dataclasses.replace(events, bearing=events.bearing + 50)
    estimate = tracker(mode).estimate(beside, REST, warm=False)
    assert estimate.twist.tolist() == REST.tolist()
    assert estimate.gain == 0


def test_the_state_carries_curvature_and_rate_over() -> None:
    first, second = tracker("rotation"), tracker("rotation")
    events = batch(scene(FAR), rotation(1.0, -2.0, 0.5), 0.04, 5_000)
    second.load_state_dict(first.state_dict())
    assert (second.curvature, second.event_rate) == (None, 0)
    first.estimate(events, REST, warm=False)
    second.load_state_dict(first.state_dict())
    assert second.event_rate == pytest.approx(125_000)
    prior = np.array([0, 0, 0, 0.9, -1.8, 0.6])
    estimates = [each.estimate(events, prior, warm=True) for each in (first, second)]
    assert estimates[0].twist.tolist() == estimates[1].twist.tolist()
    assert estimates[0].evaluations == estimates[1].evaluations


def test_unknown_names_are_refused_before_the_first_batch() -> None:
    for override in ("tracker.kernel=box", "tracker.gradient=exact", "tracker.objective=sharpness"):
        with pytest.raises(ConfigError, match="does not exist; choose one of"):
            tracker("rotation", load_config(overrides=[override]))


def test_covariance_covers_the_errors() -> None:
    """Of points without sensor noise it is pessimistic, never the other way; it falls with the number of events."""
    twist, each, normalised, traces = rotation(1.0, -2.0, 0.5), tracker("rotation"), [], []
    for seed in range(8):
        for num_events in (3000, 6000):
            estimate = each.estimate(batch(scene(FAR), twist, 0.03, num_events, seed=seed), REST, warm=False)
            error = (estimate.twist - twist.numpy())[3:]
            normalised.append(float(error @ np.linalg.solve(estimate.covariance[3:, 3:], error)))
            traces.append(float(np.trace(estimate.covariance)))
            assert np.array_equal(estimate.covariance[:3], np.zeros((3, 6)))
    assert np.mean(normalised) < 3
    assert np.median(np.array(traces[::2]) / traces[1::2]) == pytest.approx(2, rel=0.3)


def test_nothing_measured_has_no_covariance() -> None:
    estimate = tracker("rotation").estimate(noise(10, 0.04), np.zeros(6), warm=False)
    assert np.isnan(estimate.covariance).all()
