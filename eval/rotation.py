"""Accuracy of orientations: absolute and relative errors, and the constant time shift that explains them best."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.errors import DataError
from evslam.eval.association import Samples, is_covered, pairs_apart, sample_uniformly
from evslam.geometry.trajectory import interpolate
from evslam.types import Trajectory

ABSOLUTE_STEP_US = 20_000
RELATIVE_STEP_US = 100_000
RELATIVE_DELTA_US = 1_000_000
_SHIFTS_US = np.arange(-6_000, 6_001, 1_000)


def statistics(errors: np.ndarray, unit: str, protocol: str) -> dict[str, Any]:
    """RMSE, mean, median and maximum of (N,) errors, with their unit and protocol, or the reason for their absence."""
    if len(errors) == 0:
        return absent(f"no sample to evaluate with this protocol ({protocol})")
    figures = {"rmse": np.sqrt(np.mean(errors**2)), "mean": errors.mean(), "median": np.median(errors)}
    figures |= {"max": errors.max()}
    return {k: float(v) for k, v in figures.items()} | {"samples": len(errors), "unit": unit, "protocol": protocol}


def absent(reason: str) -> dict[str, Any]:
    """A figure that cannot be given, and why."""
    return {"rmse": None, "reason": reason}


def rotations(trajectory: Trajectory) -> Rotation:
    """Orientations R_world_cam of a trajectory."""
    return Rotation.from_quat(trajectory.quaternion)


def best_alignment(groundtruth: Rotation, estimate: Rotation) -> Rotation:
    """The rotation A that brings A * estimate closest to the ground truth (chordal mean)."""
    return (groundtruth * estimate.inv()).mean()


def angles_deg(groundtruth: Rotation, estimate: Rotation) -> np.ndarray:
    """(N,) angles between orientations in degrees."""
    return np.degrees((groundtruth.inv() * estimate).magnitude())


def best_aligned_errors_deg(samples: Samples) -> np.ndarray:
    """(N,) orientation errors in degrees after the best constant rotation."""
    groundtruth, estimate = rotations(samples.groundtruth), rotations(samples.estimate)
    return angles_deg(groundtruth, best_alignment(groundtruth, estimate) * estimate)


def relative_errors_deg(samples: Samples, delta_us: int = RELATIVE_DELTA_US) -> np.ndarray:
    """(M,) errors in degrees of the rotation over `delta_us`, for all pairs of samples that lie that far apart."""
    i, j = pairs_apart(samples.t_us, delta_us)
    if len(i) == 0:
        return np.empty(0)
    groundtruth, estimate = rotations(samples.groundtruth), rotations(samples.estimate)
    return angles_deg(groundtruth[i].inv() * groundtruth[j], estimate[i].inv() * estimate[j])


def evaluate_rotation(estimate: Trajectory, groundtruth: Trajectory, t0_s: float) -> dict[str, Any]:
    """All figures on orientation.

    Args:
        estimate, groundtruth: trajectories that overlap in time.
        t0_s: seconds after the first common time at which the orientations are made equal for the absolute error.

    Returns:
        absolute_start, absolute_best, relative, null (a motionless estimate after best alignment) and time_shift;
        the protocol of the first and third is CMax-SLAM's (Guo and Gallego, 2024).
    """
    samples = sample_uniformly(estimate, groundtruth, ABSOLUTE_STEP_US)
    truth = rotations(samples.groundtruth)
    still = angles_deg(truth, truth.mean())
    best = f"best constant rotation over the whole overlap, {samples.protocol}"
    return {
        "absolute_start": _absolute_from_start(samples, t0_s),
        "absolute_best": statistics(best_aligned_errors_deg(samples), "deg", best),
        "relative": _relative(estimate, groundtruth),
        "null": statistics(still, "deg", f"motionless estimate, {best}"),
        "time_shift": best_time_shift(samples, groundtruth),
    }


def _absolute_from_start(samples: Samples, t0_s: float) -> dict[str, Any]:
    kept = np.flatnonzero(samples.t_us >= samples.t_us[0] + round(t0_s * 1e6))
    if len(kept) == 0:
        span = (samples.t_us[-1] - samples.t_us[0]) / 1e6
        return absent(f"the overlap with the ground truth lasts {span:.3f} s, less than t0 = {t0_s:g} s")
    groundtruth, estimate = rotations(samples.groundtruth)[kept], rotations(samples.estimate)[kept]
    errors = angles_deg(groundtruth[0].inv() * groundtruth, estimate[0].inv() * estimate)
    protocol = f"aligned at t0 = {t0_s:g} s after the first common time, {samples.protocol}"
    return statistics(errors, "deg", protocol)


def _relative(estimate: Trajectory, groundtruth: Trajectory) -> dict[str, Any]:
    try:
        samples = sample_uniformly(estimate, groundtruth, RELATIVE_STEP_US)
    except DataError as error:
        return absent(str(error))
    return statistics(relative_errors_deg(samples), "deg", "rotation over 1 s, every 0.1 s, no alignment")


def best_time_shift(samples: Samples, groundtruth: Trajectory) -> dict[str, Any]:
    """The constant shift of the estimate's clock within +-6 ms that explains the orientation error best.

    Returns:
        shift_ms (to be added to the estimate's time stamps) and the statistics of the error that is left.
    """
    reach = _SHIFTS_US[[0, -1]]
    inside = is_covered(groundtruth, samples.t_us + reach[0]) & is_covered(groundtruth, samples.t_us + reach[1])
    if np.count_nonzero(inside) < 3:
        return absent("the overlap with the ground truth is too short to shift it by 6 ms") | {"shift_ms": None}
    times = samples.t_us[inside]
    estimate = Trajectory(times, samples.estimate.poses[inside])

    def errors_at(shift_us: int) -> np.ndarray:
        shifted = Trajectory(times, interpolate(groundtruth, times + shift_us))
        return best_aligned_errors_deg(Samples(estimate, shifted, ""))

    costs = [float(np.mean(errors_at(int(shift)) ** 2)) for shift in _SHIFTS_US]
    shift_us = round(_parabola_minimum(_SHIFTS_US, np.array(costs)))
    protocol = "added to the estimate's time stamps, searched in +-6 ms, best constant rotation"
    if abs(shift_us) >= _SHIFTS_US[-1]:
        protocol += "; the best shift lies on the border of the search"
    return statistics(errors_at(shift_us), "deg", protocol) | {"shift_ms": shift_us / 1000}


def _parabola_minimum(x: np.ndarray, cost: np.ndarray) -> float:
    k = int(np.argmin(cost))
    if k in (0, len(x) - 1):
        return float(x[k])
    left, middle, right = cost[k - 1 : k + 2]
    curvature = left - 2 * middle + right
    offset = 0.5 * (left - right) / curvature if curvature > 0 else 0.0
    return float(x[k] + offset * (x[1] - x[0]))
