"""What an IMU tells about a trajectory that is known up to scale: metres, gravity, biases, and how late events are."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.inertial.integration import increments
from evslam.inertial.orientation import fuse_orientation
from evslam.inertial.rates import DEGREES, RateFit, fit_rates, spaced
from evslam.inertial.scale_problem import ScaleFit, ScaleProblem, solve_scale, solve_scale_alone
from evslam.inertial.signal import InertialSignal, longest_stretch
from evslam.settings_inertial import InertialConfig
from evslam.types import Trajectory

_US = 1e-6
_WINDOW_S = 3.0  # the scale is looked at in windows of this length, too
_MIN_AGREEMENT = 0.5  # of turns that the gyroscope explains
_MIN_TURN_RATE = 0.05  # rad/s, below which agreement means nothing
_LITTLE_COVER = "the IMU covers too little of the trajectory"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InertialEstimate:
    """What is known after a run.

    Attributes:
        reason: why the scale is not sure, in words; empty if it is.
        offset_s: seconds by which the poses are later than the IMU.
        gyro_bias: (3,) rad/s, camera axes; None where nothing could be compared.
        fit: scale, gravity and the accelerometer's bias; None without an accelerometer or a solution.
        scale_sigma: relative standard deviation of the scale, its scatter over the recording included.
        duration_s: over which trajectory and IMU were compared.
    """

    reason: str
    offset_s: float = 0.0
    gyro_bias: np.ndarray | None = None
    fit: ScaleFit | None = None
    scale_sigma: float = np.inf
    duration_s: float = 0.0

    @property
    def is_sure(self) -> bool:
        """Whether the map can be written in metres."""
        return not self.reason

    def figures(self) -> dict[str, Any]:
        """For metrics.json; what is not known is None."""
        fit = self.fit
        told: dict[str, Any] = {"metric": self.is_sure, "reason": self.reason or None, "duration_s": self.duration_s}
        told |= {"offset_ms": None if self.gyro_bias is None else 1000 * self.offset_s}
        told |= {"gyro_bias": None if self.gyro_bias is None else self.gyro_bias.tolist()}
        told |= {"scale": None if fit is None else 1 / fit.inverse_scale}
        told |= {"scale_sigma": None if fit is None else self.scale_sigma}
        told |= {"gravity_in_first_camera": None if fit is None else fit.gravity.tolist()}
        told |= {"gravity_sigma_deg": None if fit is None else float(np.degrees(fit.gravity_sigma))}
        return told | {"accel_bias": None if fit is None else fit.bias.tolist()}


def align_inertially(
    trajectory: Trajectory, signal: InertialSignal, config: InertialConfig, min_spread: float
) -> InertialEstimate:
    """Metric scale, gravity, biases and time offset of a trajectory.

    Offset and bias of the gyroscope come from the rates of rotation (`rates`). With both, gyroscope and trajectory are
    fused to one orientation (`orientation`), in which the specific force is integrated from pose to pose
    (`integration`); `scale_problem` compares the result with the positions.

    Args:
        trajectory: T_world_cam, any scale, times of the events.
        signal: inertial measurements in camera axes.
        config: limits and noise.
        min_spread: standard deviation of angular velocities in rad/s below which no offset is told.

    Returns:
        The estimate, with a reason where it is not sure.
    """
    signal = signal[longest_stretch(signal.t_us, 1e3 * config.max_gap_ms)]
    if len(trajectory) < 2 or len(signal) < 2:
        return InertialEstimate(_LITTLE_COVER)
    rotation = Rotation.from_quat(trajectory.quaternion)
    rates = fit_rates(trajectory.t_us, rotation, signal, 1e-3 * config.max_offset_ms, min_spread)
    if rates is not None and DEGREES[0] < rates.gain < DEGREES[1]:
        log.warning("the gyroscope turns %.0f times as fast as the camera: its degrees/s are converted", rates.gain)
        signal = replace(signal, gyro=np.radians(signal.gyro))
        rates = fit_rates(trajectory.t_us, rotation, signal, 1e-3 * config.max_offset_ms, min_spread)
    if rates is None:
        return InertialEstimate(_LITTLE_COVER)
    estimate = InertialEstimate("", rates.offset_s, rates.bias)
    if rates.turn_rate > _MIN_TURN_RATE and rates.agreement < _MIN_AGREEMENT:
        share = 100 * rates.agreement
        return replace(
            estimate, reason=f"gyroscope and trajectory agree by {share:.0f} % only: are the axes the camera's?"
        )
    if signal.force is None:
        return replace(estimate, reason="no accelerometer")
    return _with_scale(estimate, trajectory, signal, rates, config)


def _with_scale(
    estimate: InertialEstimate, trajectory: Trajectory, signal: InertialSignal, rates: RateFit, config: InertialConfig
) -> InertialEstimate:
    problem = _scale_problem(trajectory, signal, rates, config)
    duration_s = 0.0 if problem is None else float(problem.t[-1] - problem.t[0])
    estimate = replace(estimate, duration_s=duration_s)
    if problem is None or duration_s < config.min_duration_s:
        return replace(estimate, reason=f"{duration_s:.1f} s with poses and IMU, {config.min_duration_s:g} are needed")
    fit = solve_scale(problem)
    if fit is None:
        return replace(estimate, reason="the accelerometer does not tell a scale")
    sigma, tilt_deg = float(np.hypot(fit.log_scale_sigma, _scatter(problem, fit))), np.degrees(fit.gravity_sigma)
    reason = ""
    if tilt_deg > config.max_gravity_sigma_deg:
        reason = f"gravity is known within {tilt_deg:.1f} degrees only: longer or livelier motion would tell it"
    if sigma > config.max_scale_sigma:
        reason = f"the scale is known within {100 * sigma:.1f} % only: longer or livelier motion would tell it"
    return replace(estimate, reason=reason, fit=fit, scale_sigma=sigma)


def _scale_problem(
    trajectory: Trajectory, signal: InertialSignal, rates: RateFit, config: InertialConfig
) -> ScaleProblem | None:
    """Nodes at poses some distance in time apart, and the accelerometer between them; None for fewer than three."""
    assert signal.force is not None
    origin = trajectory.t_us[0]
    samples, times = (signal.t_us - origin) * _US, (trajectory.t_us - origin) * _US - rates.offset_s
    covered = (times >= samples[0]) & (times <= samples[-1])
    times, rotation = times[covered], Rotation.from_quat(trajectory.quaternion)[covered]
    chosen = spaced(times, config.node_s) if len(times) else np.zeros(0, int)
    if len(chosen) < 3:
        return None
    reach = slice(
        max(int(np.searchsorted(samples, times[0], side="right")) - 1, 0), int(np.searchsorted(samples, times[-1])) + 1
    )
    samples, gyro = samples[reach], signal.gyro[reach] - rates.bias
    axes = fuse_orientation(times, rotation, samples, gyro, config.knot_s).as_matrix()
    return ScaleProblem(
        times[chosen],
        trajectory.position[covered][chosen],
        rotation[chosen].apply(signal.lever),
        increments(samples, axes, signal.force[reach], times[chosen]),
        config.acceleration_noise,
        config.bias_sigma,
        config.min_sigma,
    )


def _scatter(problem: ScaleProblem, fit: ScaleFit) -> float:
    """Standard deviation of the mean of the scales (logarithm) of successive windows; 0 for fewer than two windows."""
    window = ((problem.t - problem.t[0]) // _WINDOW_S).astype(int)
    starts = np.concatenate([np.searchsorted(window, np.unique(window)), [len(window)]])
    told = [
        solve_scale_alone(problem.part(first, stop), fit)
        for first, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
        if stop - first >= 10
    ]
    if len(told) < 2:
        return 0.0
    value, sigma = np.array(told).T
    weight = sigma**-2 / (sigma**-2).sum()
    mean = weight @ value
    return float(np.sqrt((weight**2 @ (value - mean) ** 2) * len(value) / (len(value) - 1)))
