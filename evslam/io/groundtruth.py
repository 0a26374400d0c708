"""Ground truth: poses of every known form, brought to T_world_cam in the events' clock, mistakes named."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evslam.errors import DataError
from evslam.io.columns import MAX_SECONDS
from evslam.io.files import read_text
from evslam.io.pose_checks import UNITS, check_unit, direction_and_order
from evslam.io.pose_tables import PoseTable, read_poses
from evslam.io.transforms import compose, invert
from evslam.types import Trajectory

ORDERS = ("xyzw", "wxyz")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoseOptions:
    """How to understand a pose file; what is None is taken from the file and its form.

    Attributes:
        unit: of the times: s, ms, us or ns.
        order: of the quaternion's numbers: xyzw or wxyz.
        inverse: whether the poses map the world to the camera (or body).
        times: file with one time per line, for poses that have none (KITTI).
        T_body_cam: (7,) pose of the camera in the frame that the file's poses move (hand-eye transform).
        offset_s: seconds to add to the file's times to come to the events' clock.
    """

    unit: str | None = None
    order: str | None = None
    inverse: bool | None = None
    times: Path | None = None
    T_body_cam: tuple[float, ...] | None = None
    offset_s: float = 0.0


@dataclass(frozen=True)
class GroundTruth:
    """Poses T_world_cam, and what a check found suspicious about them, in words."""

    trajectory: Trajectory
    findings: tuple[str, ...]


def pose_options(entries: Mapping[str, Any]) -> PoseOptions:
    """The options of `PoseOptions` as plain data, such as metrics.json holds them."""
    values = dict(entries)
    if values.get("times") is not None:
        values["times"] = Path(values["times"])
    if values.get("T_body_cam") is not None:
        values["T_body_cam"] = tuple(values["T_body_cam"])
    return PoseOptions(**values)


def load_groundtruth(
    path: Path, options: PoseOptions | None = None, span_us: tuple[int, int] | None = None
) -> GroundTruth:
    """Reads poses of any known form.

    Args:
        path: see `evslam.io.pose_tables.read_poses`.
        options: how to understand it.
        span_us: first and last time of the events, to check the times against.

    Returns:
        Poses T_world_cam at strictly increasing times, and findings.

    Raises:
        DataError: a value cannot be used, the times have evidently another unit, or they go backwards.
    """
    options = options or PoseOptions()
    table = read_poses(path)
    seconds_like = _times(path, table, options)
    unit = options.unit or table.unit or "s"
    if unit not in UNITS:
        raise DataError(f"{path}: unit {unit!r} of the times is unknown; give one of {', '.join(UNITS)}")
    if options.unit is None:
        check_unit(path, seconds_like, unit, span_us, declared=table.unit is not None)
    if abs(seconds_like * UNITS[unit]).max() > MAX_SECONDS * 1e6:
        raise DataError(f"{path}: times up to {seconds_like.max():g} {unit} lie after the year 5000; give --gt-unit")
    t_us = np.rint(seconds_like * UNITS[unit]).astype(np.int64)
    keep = _increasing(path, table, t_us)
    poses, suspect = _ordered(path, table.poses, options.order), options.order is None and options.inverse is None
    if table.inverse if options.inverse is None else options.inverse:
        poses, suspect = invert(poses), False
    return check_groundtruth(Trajectory(t_us[keep], poses[keep]), options, span_us, suspect=suspect)


def check_groundtruth(
    trajectory: Trajectory, options: PoseOptions, span_us: tuple[int, int] | None, *, suspect: bool = True
) -> GroundTruth:
    """Brings poses of a body to the camera and to the events' clock, and tells what is suspicious.

    Args:
        trajectory: poses that map the body's points to the world.
        options: T_body_cam and offset_s of them are used.
        span_us: first and last time of the events.
        suspect: whether order and direction may be mistaken.
    """
    trajectory = Trajectory(trajectory.t_us + round(options.offset_s * 1e6), trajectory.poses)
    findings = _span_findings(trajectory, span_us) + (direction_and_order(trajectory) if suspect else [])
    if options.T_body_cam is not None:
        trajectory = Trajectory(trajectory.t_us, compose(trajectory.poses, np.asarray(options.T_body_cam)))
    return GroundTruth(trajectory, tuple(findings))


def _times(path: Path, table: PoseTable, options: PoseOptions) -> np.ndarray:
    """Times in the file's unit; a file without times takes those of the file given beside it."""
    if len(table.times):
        times = table.times
    elif options.times is None:
        raise DataError(
            f"{path}: {table.form} poses have no times; give one per line in times.txt beside it or --gt-times FILE"
        )
    else:
        try:
            times = np.array([float(word) for word in read_text(options.times).split()])
        except ValueError as error:
            raise DataError(f"{options.times}: {error}; give one time per line") from None
        if len(times) != len(table.poses) or not np.isfinite(times).all():
            raise DataError(
                f"{options.times}: {len(times)} times for {len(table.poses)} poses in {path.name}; give one per line"
            )
    if len(times) < 2:
        raise DataError(f"{path}: {len(times)} poses where at least 2 are needed; give a longer file")
    return times


def _ordered(path: Path, poses: np.ndarray, order: str | None) -> np.ndarray:
    if order not in (None, *ORDERS):
        raise DataError(f"{path}: order {order!r} of quaternions is unknown; give one of {', '.join(ORDERS)}")
    return poses[:, [0, 1, 2, 4, 5, 6, 3]] if order == "wxyz" else poses


def _increasing(path: Path, table: PoseTable, t_us: np.ndarray) -> np.ndarray:
    """Which poses are newer than the one before; refuses times that go backwards."""
    step = np.diff(t_us)
    if (step < 0).any():
        index = int(np.argmax(step < 0))
        raise DataError(
            f"{table.place(index + 1)}: time goes back from {t_us[index] / 1e6:.6f} s to "
            f"{t_us[index + 1] / 1e6:.6f} s; sort the file by time"
        )
    if not step.all():
        _log.warning("%s: %d poses repeat the time before them and were left out", path, np.count_nonzero(step == 0))
    keep = np.concatenate([[True], step > 0])
    if keep.sum() < 2:
        raise DataError(f"{path}: {keep.sum()} different times where at least 2 are needed; give a longer file")
    return keep


def _span_findings(trajectory: Trajectory, span_us: tuple[int, int] | None) -> list[str]:
    first, last = trajectory.t_us[0], trajectory.t_us[-1]
    if span_us is None or (first <= span_us[1] and last >= span_us[0]):
        return []
    return [
        f"ground truth ({first / 1e6:.3f} to {last / 1e6:.3f} s) and events ({span_us[0] / 1e6:.3f} to "
        f"{span_us[1] / 1e6:.3f} s) share no time; shift it with --gt-offset S"
    ]
