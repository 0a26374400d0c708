"""Sampling an estimate and its ground truth at common times, with the rules that decide which times count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evslam.errors import DataError
from evslam.geometry.trajectory import interpolate
from evslam.types import Trajectory

MIN_POSES = 3
_SHORTEST_GAP_US = 100_000
_GAP_INTERVALS = 3.0


@dataclass(frozen=True)
class Samples:
    """An estimate and its ground truth at the same times.

    Attributes:
        estimate: T_world_cam in the estimate's world frame and scale.
        groundtruth: T_world_cam in the ground truth's world frame, metres; the same time stamps.
        protocol: how the samples were made, for the tables.
    """

    estimate: Trajectory
    groundtruth: Trajectory
    protocol: str

    @property
    def t_us(self) -> np.ndarray:
        """(N,) int64 microseconds."""
        return self.estimate.t_us

    def __len__(self) -> int:
        return len(self.estimate)


def median_interval_us(trajectory: Trajectory) -> float:
    """Median time between consecutive poses in microseconds (0 for fewer than two poses)."""
    return float(np.median(np.diff(trajectory.t_us))) if len(trajectory) > 1 else 0.0


def largest_gap_us(trajectory: Trajectory) -> float:
    """Longest pause between two poses over which the trajectory counts as known: 0.1 s or three median intervals."""
    return max(_SHORTEST_GAP_US, _GAP_INTERVALS * median_interval_us(trajectory))


def is_covered(trajectory: Trajectory, t_us: np.ndarray) -> np.ndarray:
    """Tell at which times the trajectory may be interpolated.

    Args:
        trajectory: (N,) poses.
        t_us: (M,) int64 microseconds.

    Returns:
        (M,) bool, True on a pose and between two poses that are at most `largest_gap_us` apart.
    """
    after = np.searchsorted(trajectory.t_us, t_us, side="left")
    inside = after < len(trajectory)
    right = trajectory.t_us[np.minimum(after, len(trajectory) - 1)]
    left = trajectory.t_us[np.maximum(after - 1, 0)]
    return inside & ((right == t_us) | ((after > 0) & (right - left <= largest_gap_us(trajectory))))


def covered_seconds(trajectory: Trajectory, start_us: int, stop_us: int) -> float:
    """Seconds of [start_us, stop_us) with a pose: each pose stands for its interval, longer gaps count as lost."""
    if len(trajectory) == 0:
        return 0.0
    steps = np.diff(trajectory.t_us)
    continuous = steps <= largest_gap_us(trajectory)
    num_pieces = 1 + int(np.count_nonzero(~continuous))
    covered_us = float(steps[continuous].sum()) + num_pieces * median_interval_us(trajectory)
    return min(covered_us, float(stop_us - start_us)) / 1e6


def overlap_us(estimate: Trajectory, groundtruth: Trajectory) -> tuple[int, int]:
    """First and last time that both trajectories span.

    Raises:
        DataError: one of them has too few poses, or they have no time in common.
    """
    for name, trajectory in (("the estimate", estimate), ("the ground truth", groundtruth)):
        if len(trajectory) < MIN_POSES:
            raise DataError(
                f"{name} has {len(trajectory)} poses, at least {MIN_POSES} are needed: "
                "evaluate a longer run or give another file with --groundtruth FILE"
            )
    first = int(max(estimate.t_us[0], groundtruth.t_us[0]))
    last = int(min(estimate.t_us[-1], groundtruth.t_us[-1]))
    if first >= last:
        spans = " and ".join(f"{t.t_us[0] / 1e6:.6f}-{t.t_us[-1] / 1e6:.6f} s" for t in (estimate, groundtruth))
        raise DataError(
            f"estimate and ground truth do not overlap in time ({spans}): both must use the recording's own clock, "
            "with ground truth times in seconds (not micro- or nanoseconds)"
        )
    return first, last


def associate(estimate: Trajectory, groundtruth: Trajectory) -> Samples:
    """Pair the estimate with its ground truth at the time stamps of the sparser of the two.

    The denser trajectory is interpolated (linear, slerp), which is exact where nearest-neighbour association
    would add up to half a sample interval of motion to the error; the sparser one is used as it is.

    Raises:
        DataError: too few poses, no overlap in time, or fewer than 3 common samples.
    """
    first, last = overlap_us(estimate, groundtruth)
    groundtruth_is_denser = median_interval_us(groundtruth) <= median_interval_us(estimate)
    times = (estimate if groundtruth_is_denser else groundtruth).t_us
    times = times[(times >= first) & (times <= last)]
    protocol = (
        "ground truth interpolated at the estimate's times"
        if groundtruth_is_denser
        else "estimate interpolated at the ground truth's times"
    )
    return _sample(estimate, groundtruth, times, protocol)


def sample_uniformly(estimate: Trajectory, groundtruth: Trajectory, step_us: int) -> Samples:
    """Pair both at multiples of `step_us` after the first common time, each interpolated; gaps are left out.

    Raises:
        DataError: too few poses, no overlap in time, or fewer than 3 common samples.
    """
    first, last = overlap_us(estimate, groundtruth)
    protocol = f"both interpolated at {1e6 / step_us:g} Hz"
    return _sample(estimate, groundtruth, np.arange(first, last + 1, step_us, dtype=np.int64), protocol)


def _sample(estimate: Trajectory, groundtruth: Trajectory, times: np.ndarray, protocol: str) -> Samples:
    times = times[is_covered(estimate, times) & is_covered(groundtruth, times)]
    if len(times) < MIN_POSES:
        raise DataError(
            f"estimate and ground truth have {len(times)} samples in common, at least {MIN_POSES} are needed: "
            "evaluate a longer run or a ground truth that covers it"
        )
    at_times = [Trajectory(times, interpolate(trajectory, times)) for trajectory in (estimate, groundtruth)]
    return Samples(at_times[0], at_times[1], protocol)


def pairs_apart(t_us: np.ndarray, delta_us: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (i, j) of all samples that lie exactly `delta_us` apart, t[j] = t[i] + delta."""
    j = np.searchsorted(t_us, t_us + delta_us)
    found = j < len(t_us)
    found[found] = t_us[j[found]] == t_us[found] + delta_us
    return np.flatnonzero(found), j[found]
