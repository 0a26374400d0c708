"""Sections of the configuration for inertial measurements in mode 6dof."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class InertialConfig:
    """Metric scale, gravity and biases from an IMU.

    Attributes:
        max_offset_ms: clocks of events and IMU differ by at most so much.
        max_gap_ms: longer gaps between samples end a stretch that is integrated over.
        min_duration_s: of trajectory and IMU together, below which nothing is told.
        knot_s: interval of the knots of the slow rotation between gyroscope and trajectory.
        node_s: interval of the poses that are compared with the accelerometer.
        acceleration_noise: density of the error of accelerations, that of their direction included, m/s^2/sqrt(Hz).
        bias_sigma: standard deviation of the accelerometer's bias, m/s^2.
        min_sigma: least standard deviation of a position, in units of the map (the median depth at the start).
        max_scale_sigma, max_gravity_sigma_deg: relative standard deviation of the scale, and that of the direction of
            gravity, up to which the map is written in metres. The bias alone leaves about a degree.
    """

    max_offset_ms: float
    max_gap_ms: float
    min_duration_s: float
    knot_s: float
    node_s: float
    acceleration_noise: float
    bias_sigma: float
    min_sigma: float
    max_scale_sigma: float
    max_gravity_sigma_deg: float
