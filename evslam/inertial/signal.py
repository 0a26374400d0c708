"""Inertial measurements made ready: in order, in SI units, in the axes of the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.errors import DataError
from evslam.types import Imu

STANDARD_GRAVITY = 9.80665  # m/s^2, what "g" stands for in the data of sensors
_FASTEST = 45.0  # rad/s; the range of hand-sized gyroscopes ends at 2000 degrees/s = 35 rad/s
_FAST = 6.0  # rad/s, more than the median of any hand-held motion
_FORCE_RANGE = (7.0, 13.0)  # m/s^2, of the median specific force of anything that a hand carries


@dataclass(frozen=True)
class InertialSignal:
    """Measurements in the axes of the camera.

    Attributes:
        t_us: (N,) int64 microseconds, strictly increasing, N >= 2.
        gyro: (N, 3) float64 angular velocity, rad/s.
        force: (N, 3) float64 specific force, m/s^2; None without a usable accelerometer.
        lever: (3,) metres, place of the accelerometer in the camera frame.
        notes: in words, what was mended.
    """

    t_us: np.ndarray
    gyro: np.ndarray
    force: np.ndarray | None
    lever: np.ndarray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.t_us)

    def __getitem__(self, index: np.ndarray | slice) -> InertialSignal:
        """The samples of an index or mask."""
        force = None if self.force is None else self.force[index]
        return InertialSignal(self.t_us[index], self.gyro[index], force, self.lever, self.notes)

    @property
    def imu(self) -> Imu:
        """As plain measurements; no force is zero."""
        force = np.zeros_like(self.gyro) if self.force is None else self.force
        return Imu(self.t_us, force, self.gyro)


def prepare(imu: Imu, T_cam_imu: np.ndarray | None = None) -> InertialSignal:
    """Puts measurements in order and tells their units by their size.

    Samples that are not finite or not later than the one before are left out. Angular velocities beyond what a
    gyroscope measures are degrees per second; a median force near 1 is in units of g. Both are converted and noted.

    Args:
        imu: as recorded.
        T_cam_imu: (7,) pose of the IMU in the camera frame; None for the same place and axes.

    Raises:
        DataError: fewer than two usable samples.
    """
    finite = np.isfinite(imu.gyro).all(1) & np.isfinite(imu.acceleration).all(1)
    t_us, first = np.unique(imu.t_us[finite], return_index=True)
    gyro, force = imu.gyro[finite][first], imu.acceleration[finite][first]
    notes: list[str] = []
    if len(t_us) < len(imu.t_us):
        notes.append(f"{len(imu.t_us) - len(t_us)} IMU samples are not finite or have a time twice: left out")
    if len(t_us) < 2:
        raise DataError(f"IMU: {len(t_us)} usable samples of {len(imu.t_us)}; run without --imu, or mend the file")
    if np.quantile(np.abs(gyro).max(1), 0.999) > _FASTEST or np.median(np.linalg.norm(gyro, axis=1)) > _FAST:
        notes.append(f"angular velocities up to {np.abs(gyro).max():.0f} must be degrees/s: converted")
        gyro = np.radians(gyro)
    told = _in_si(force, notes)
    turn, lever = Rotation.identity(), np.zeros(3)
    if T_cam_imu is not None:
        turn, lever = Rotation.from_quat(T_cam_imu[3:]), np.array(T_cam_imu[:3], float)
    force = None if told is None else turn.apply(told)
    return InertialSignal(t_us, turn.apply(gyro), force, lever, tuple(notes))


def longest_stretch(t_us: np.ndarray, max_gap_us: float) -> slice:
    """The longest stretch of increasing times (N,) without a gap longer than max_gap_us."""
    cuts = np.flatnonzero(np.diff(t_us) > max_gap_us) + 1
    starts, stops = np.concatenate([[0], cuts]), np.concatenate([cuts, [len(t_us)]])
    longest = int(np.argmax(t_us[stops - 1] - t_us[starts]))
    return slice(int(starts[longest]), int(stops[longest]))


def _in_si(force: np.ndarray, notes: list[str]) -> np.ndarray | None:
    """Specific force (N, 3) in m/s^2; None where gravity cannot be made out in it."""
    size = float(np.median(np.linalg.norm(force, axis=1)))
    low, high = _FORCE_RANGE
    if low < size < high:
        return force
    if low < size * STANDARD_GRAVITY < high:
        notes.append(f"a median force of {size:.2f} must be in units of g: converted")
        return force * STANDARD_GRAVITY
    notes.append(f"the accelerometer is not used: its median is {size:.3g}, gravity alone makes 9.8 m/s^2")
    return None
