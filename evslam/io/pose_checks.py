"""Sanity checks of ground truth: unit of the times, order of the quaternion's numbers, direction of the poses.

A quaternion that is read in the wrong order is still one, and its steps turn by the same angles; so does the inverse of
a pose. What tells them apart is a second witness of the rotation (a gyroscope, an estimate): in the right reading the
angular velocities of both differ by one constant rotation, in a wrong one by none. Between the two mistakes rotations
cannot decide: moving w from one end to the other is a reflection of the unit sphere, which is a conjugation between
two constant quaternions, so a wrong order looks like an inverse.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.errors import DataError
from evslam.io.transforms import invert
from evslam.types import Trajectory

UNITS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}  # microseconds in each
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
USUAL_STEP_US = (200.0, 2.5e6)  # between poses
MAX_INVERSE_PATH = 0.2  # of the path as given: so much shorter a path of the inverse poses is suspicious
RATE_STEP_S = 0.02  # over which angular velocities are compared
MIN_RATE = 0.1  # rad/s RMS, below which there is no rotation to compare
MIN_RATES = 50
FITS, FITS_NOT, CONTRAST = 0.25, 0.1, 0.3  # unexplained share of the rates: accepted, suspicious, how much better


def check_unit(path: Path, times: np.ndarray, unit: str, span_us: tuple[int, int] | None, *, declared: bool) -> None:
    """Refuses times that are evidently in another unit.

    Args:
        path: for the message.
        times: (N,) in the file's unit, N >= 2.
        unit: s, ms, us or ns.
        span_us: first and last time of the events, None if unknown.
        declared: whether the file itself says that unit; then only the events can prove it wrong.

    Raises:
        DataError: read in this unit the poses do not follow each other as poses do, or miss the events, while another
            unit sets that right.
    """
    if _plausible(times, unit, span_us) or (declared and span_us is None):
        return
    better = [other for other in UNITS if other != unit and _plausible(times, other, span_us)]
    if better:
        step = float(np.median(np.diff(times)))
        raise DataError(
            f"{path}: times {times[0]:.15g}, step {step:.6g}, are evidently no {UNIT_NAMES[unit]} but "
            f"{' or '.join(UNIT_NAMES[other] for other in better)}; give --gt-unit {'|'.join(better)} or convert them"
        )


def _plausible(times: np.ndarray, unit: str, span_us: tuple[int, int] | None) -> bool:
    t_us = times * UNITS[unit]
    low, high = USUAL_STEP_US
    if not low <= np.median(np.abs(np.diff(t_us))) <= high:
        return False
    return span_us is None or bool(t_us.min() <= span_us[1] and t_us.max() >= span_us[0])


def direction_and_order(trajectory: Trajectory) -> list[str]:
    """What the poses alone give reason to suspect: quaternions w first, poses that map the world to the camera."""
    findings = []
    first = trajectory.quaternion[0]
    if abs(first[0]) > 0.9999 and np.abs(first[1:]).max() < 1e-3:
        findings.append(
            "the first quaternion (1, 0, 0, 0) is a half turn about x, or no turn if w stands first; "
            "if so: --gt-order wxyz"
        )
    given, inverted = (_path_length(poses) for poses in (trajectory.poses, invert(trajectory.poses)))
    if given > 0 and inverted < MAX_INVERSE_PATH * given:
        findings.append(
            f"the poses' path is {given:.3g} m, that of their inverse {inverted:.3g} m: either the camera circles "
            f"round the origin, or they map the world to the camera; if so: --gt-inverse"
        )
    return findings


def _path_length(poses: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(poses[:, :3], axis=0), axis=1).sum())


def rates_of(trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Times (N - 1,) in microseconds between the poses, and their angular velocities (N - 1, 3), rad/s."""
    rotation = Rotation.from_quat(trajectory.quaternion)
    step_s = np.diff(trajectory.t_us)[:, None] * 1e-6
    return (trajectory.t_us[:-1] + trajectory.t_us[1:]) // 2, (rotation[:-1].inv() * rotation[1:]).as_rotvec() / step_s


def compare_with_rates(trajectory: Trajectory, t_us: np.ndarray, rates: np.ndarray, witness: str) -> list[str]:
    """Whether another reading of the poses fits measured angular velocities much better.

    Args:
        trajectory: T_world_cam as read.
        t_us: (M,) int64 microseconds.
        rates: (M, 3) rad/s in a frame fixed to the camera, whatever its orientation.
        witness: where the rates come from, for the message.

    Returns:
        A finding that names the better readings and their options, or nothing.
    """
    given, inverted = (unexplained_share(trajectory, t_us, rates, inverse=each) for each in (False, True))
    if not (given > FITS_NOT and inverted < min(FITS, CONTRAST * given)):
        return []
    return [
        f"{witness} disagrees with the ground truth's rotation ({100 * given:.0f} % unexplained) but agrees with its "
        f"inverse ({100 * inverted:.0f} %): its poses map the world to the camera, or w stands first in its "
        f"quaternions; give --gt-inverse or --gt-order wxyz"
    ]


def unexplained_share(trajectory: Trajectory, t_us: np.ndarray, rates: np.ndarray, *, inverse: bool) -> float:
    """Share of the squared rates that the poses leave unexplained up to a constant rotation (Kabsch 1976).

    NaN where too few rates or too little rotation allow no answer.
    """
    step_us = round(RATE_STEP_S * 1e6)
    start = max(int(trajectory.t_us[0]), int(t_us[0]))
    stop = min(int(trajectory.t_us[-1]), int(t_us[-1]))
    grid = np.arange(start, stop, step_us)
    if len(grid) < MIN_RATES + 1:
        return float("nan")
    poses = invert(trajectory.poses) if inverse else trajectory.poses
    nearest = np.unique(np.clip(np.searchsorted(trajectory.t_us, grid), 0, len(trajectory) - 1))
    rotation, times = Rotation.from_quat(poses[nearest, 3:]), trajectory.t_us[nearest]
    given = (rotation[:-1].inv() * rotation[1:]).as_rotvec() / (np.diff(times)[:, None] * 1e-6)
    measured = _mean_rates(t_us, rates, times)
    kept = np.isfinite(measured).all(1) & (np.diff(times) <= 4 * step_us)
    given, measured = given[kept], measured[kept] - measured[kept].mean(0)
    given = given - given.mean(0)  # a constant bias of the gyroscope is no evidence
    total = float((measured**2).sum())
    if len(given) < MIN_RATES or np.sqrt(total / max(len(measured), 1)) < MIN_RATE:
        return float("nan")
    u, _, vt = np.linalg.svd(given.T @ measured)
    R = (u * [1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    return float(((measured - given @ R) ** 2).sum() / total)


def _mean_rates(t_us: np.ndarray, rates: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean rate between neighbouring edges, NaN where nothing was measured."""
    bounds = np.searchsorted(t_us, edges)
    total = np.vstack([np.zeros(3), np.cumsum(rates, axis=0)])
    count = np.diff(bounds)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, np.diff(total[bounds], axis=0) / count, np.nan)
