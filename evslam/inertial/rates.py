"""Angular velocity of a trajectory against a gyroscope's: how late the events are, and the bias."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.spatial.transform import Rotation, Slerp

from evslam.geometry.turning import turned
from evslam.inertial.signal import InertialSignal

_US = 1e-6
_STEP_S, _LONGEST_S = 0.03, 0.1  # between the poses whose difference is compared
_SCALE = 0.02  # rad/s, of the robust cost
_GRID = 25
_ROUNDS = 3
_MIN_PAIRS = 20
DEGREES = (40.0, 80.0)  # a gyroscope that is faster by such a factor tells degrees


@dataclass(frozen=True)
class RateFit:
    """How a gyroscope agrees with a trajectory.

    Attributes:
        offset_s: seconds by which the events, and so the poses, are later than the gyroscope; 0 where too little turns.
        bias: (3,) rad/s, in camera axes.
        agreement: share of the trajectory's mean angular velocity that the gyroscope explains.
        gain: angular velocity of the gyroscope over that of the trajectory.
        turn_rate: rad/s, root mean square of the trajectory's.
    """

    offset_s: float
    bias: np.ndarray
    agreement: float
    gain: float
    turn_rate: float


def fit_rates(
    t_us: np.ndarray, rotation: Rotation, signal: InertialSignal, max_offset_s: float, min_spread: float
) -> RateFit | None:
    """Offset and bias that make the turns of a trajectory and of a gyroscope the same, by robust least squares.

    Args:
        t_us: (N,) times of the poses, microseconds of the clock of the events.
        rotation: N rotations R_world_cam.
        signal: in camera axes.
        max_offset_s: offsets are searched for up to here.
        min_spread: standard deviation of angular velocities in rad/s below which no offset is told.

    Returns:
        None when fewer than 20 pairs of poses can be compared.
    """
    samples, times = (signal.t_us - t_us[0]) * _US, (t_us - t_us[0]) * _US
    first, second = _pairs(times, samples[0] + max_offset_s, samples[-1] - max_offset_s)
    if len(first) < _MIN_PAIRS:
        return None
    begin, end = times[first], times[second]
    seen, dt = rotation[first].inv() * rotation[second], (end - begin)[:, None]
    rate = seen.as_rotvec() / dt
    bias, offset, error = np.zeros(3), 0.0, rate
    gain = _gain(samples, signal.gyro, begin, end, rate)
    for _ in range(_ROUNDS):
        integral = Slerp(samples, turned(samples, signal.gyro - bias))

        def against(shift: float, integral: Slerp = integral) -> np.ndarray:
            return np.asarray((seen.inv() * (integral(begin - shift).inv() * integral(end - shift))).as_rotvec() / dt)

        if float(rate.std()) > min_spread:
            offset = _best_offset(lambda shift: _cost(against(shift)), max_offset_s)
        error = against(offset)
        bias = bias + _robust_mean(error)
    rest = error - np.median(error, 0)
    agreement = 1 - float(np.linalg.norm(rest, axis=1).sum() / max(np.linalg.norm(rate, axis=1).sum(), 1e-12))
    return RateFit(offset, bias, agreement, gain, float(np.sqrt(np.square(rate).sum(1).mean())))


def _pairs(times: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Poses about 30 ms apart, one after the other, without those across gaps or outside of [low, high]."""
    chosen = spaced(times, _STEP_S)
    first, second = chosen[:-1], chosen[1:]
    good = (times[second] - times[first] < _LONGEST_S) & (times[first] >= low) & (times[second] <= high)
    return first[good], second[good]


def spaced(times: np.ndarray, step: float) -> np.ndarray:
    """Indices of increasing times, the first and each that is at least a step after the last chosen."""
    chosen = [0]
    for index, time in enumerate(times.tolist()):
        if time - times[chosen[-1]] >= step:
            chosen.append(index)
    return np.array(chosen)


def _gain(samples: np.ndarray, gyro: np.ndarray, begin: np.ndarray, end: np.ndarray, rate: np.ndarray) -> float:
    """Factor from rates (N, 3) to the mean of the gyroscope over the same intervals, each less its mean."""
    sums = np.concatenate([np.zeros((1, 3)), np.cumsum(0.5 * (gyro[1:] + gyro[:-1]) * np.diff(samples)[:, None], 0)])
    at_end, at_begin = (np.stack([np.interp(t, samples, each) for each in sums.T], 1) for t in (end, begin))
    told, seen = (at_end - at_begin) / (end - begin)[:, None], rate - rate.mean(0)
    return float(((told - told.mean(0)) * seen).sum() / max(float(np.square(seen).sum()), 1e-12))


def _best_offset(cost: Callable[[float], float], reach: float) -> float:
    """Where the cost is least within +- reach: on a grid, then between its neighbours."""
    grid = np.linspace(-reach, reach, _GRID)
    best = int(np.argmin([cost(shift) for shift in grid]))
    bounds = (float(grid[max(best - 1, 0)]), float(grid[min(best + 1, _GRID - 1)]))
    return float(minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-5}).x)


def _cost(error: np.ndarray) -> float:
    """Robust cost of errors (N, 3) but for their median."""
    square = np.square(error - np.median(error, 0)).sum(1)
    return float(np.log1p(square / _SCALE**2).mean())


def _robust_mean(error: np.ndarray) -> np.ndarray:
    """Mean (3,) of errors (N, 3), those far from the median weighing less."""
    weight = 1 / (1 + np.square(error - np.median(error, 0)).sum(1) / _SCALE**2)
    return np.asarray(weight @ error / weight.sum())
