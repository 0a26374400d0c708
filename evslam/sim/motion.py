"""Smooth camera motion: splines with analytic derivatives, so that the IMU is exactly the derivative of the pose."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.spatial.transform import Rotation, RotationSpline

from evslam.errors import ConfigError
from evslam.types import Trajectory

DEGREE = 5
GRAVITY = np.array([0.0, 0.0, -9.81])  # m/s^2, world z is up


class Motion:
    """Poses T_world_cam (x right, y down, z forward) that interpolate knots: C4 in position, C2 in rotation."""

    def __init__(self, t: np.ndarray, position: np.ndarray, rotation: Rotation) -> None:
        """Arguments: t: (N,) seconds, increasing, N > 5; position: (N, 3) metres; rotation: N rotations R_world_cam.

        Raises: ConfigError if there are too few knots.
        """
        if len(t) <= DEGREE:
            raise ConfigError(f"motion: {len(t)} knots; give at least {DEGREE + 1}")
        self._position = make_interp_spline(t, position, k=DEGREE)
        self._rotation = RotationSpline(t, rotation)

    def position(self, t: np.ndarray) -> np.ndarray:
        """Camera centre (N, 3) in world metres at t (N,) seconds."""
        return self._position(t)

    def velocity(self, t: np.ndarray) -> np.ndarray:
        """Velocity (N, 3) of the camera centre, world axes, m/s."""
        return self._position(t, 1)

    def acceleration(self, t: np.ndarray) -> np.ndarray:
        """Acceleration (N, 3) of the camera centre, world axes, m/s^2."""
        return self._position(t, 2)

    def axes(self, t: np.ndarray) -> np.ndarray:
        """R_world_cam (N, 3, 3)."""
        return self._rotation(t).as_matrix()

    def angular_velocity(self, t: np.ndarray) -> np.ndarray:
        """Angular velocity (N, 3) in camera axes, rad/s: what a gyro measures."""
        return self._rotation(t, 1)

    def specific_force(self, t: np.ndarray) -> np.ndarray:
        """R^T (a - g) (N, 3) in camera axes, m/s^2: what an accelerometer measures."""
        return np.einsum("nji,nj->ni", self.axes(t), self.acceleration(t) - GRAVITY)

    def trajectory(self, t: np.ndarray) -> Trajectory:
        """Poses at t (N,) seconds, which are rounded to microseconds."""
        t_us = np.round(t * 1e6).astype(np.int64)
        seconds = t_us * 1e-6
        return Trajectory(t_us, np.concatenate([self.position(seconds), self._rotation(seconds).as_quat()], axis=1))

    def summary(self, duration: float) -> dict[str, float]:
        """Path length (m), mean and largest speeds (m/s, degrees/s) and turned angle (degrees) over [0, duration]."""
        t = np.linspace(0, duration, max(int(duration * 1000), 2))
        speed = np.linalg.norm(self.velocity(t), axis=1)
        rate = np.rad2deg(np.linalg.norm(self.angular_velocity(t), axis=1))
        figures = {
            "path_m": speed.mean() * duration,
            "v_mean": speed.mean(),
            "v_max": speed.max(),
            "w_mean_deg": rate.mean(),
            "w_max_deg": rate.max(),
            "rot_path_deg": rate.mean() * duration,
        }
        return {name: round(float(value), 4) for name, value in figures.items()}
