"""What a gyroscope adds: the angular velocity to expect, its bias, and how late the events are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from evslam.geometry.turning import turned
from evslam.settings import GyroConfig
from evslam.types import Imu

_US = 1e-6
_LONGEST_GAP_US = 50_000
_HALF_US = 5_000  # half of the interval over which rates are compared


class Gyro:
    """Rates of a gyroscope whose axes are the camera's, less a bias that tracked batches tell.

    Args:
        imu: measurements on the clock of the events, in camera axes.
        config: time constant of the bias, range of the latency.

    Attributes:
        bias: (3,) rad/s, the mean difference between gyroscope and events over the last `bias_time_s` seconds.
    """

    def __init__(self, imu: Imu, config: GyroConfig) -> None:
        self.imu, self.config = imu, config
        self.bias, self.known_s = np.zeros(3), 0.0
        # the integral of the rates, piecewise linear: means over any interval are differences of it
        step = np.diff(imu.t_us)[:, None] * _US
        self._angle = np.vstack([np.zeros(3), np.cumsum(0.5 * (imu.gyro[1:] + imu.gyro[:-1]) * step, 0)])

    def rate(self, start_us: int, stop_us: int) -> np.ndarray | None:
        """Mean angular velocity (3,) in rad/s over an interval, without bias; None where there are no measurements."""
        raw = self._raw(start_us, stop_us)
        return None if raw is None else raw - self.bias

    def turn(self, start_us: int, stop_us: int) -> np.ndarray | None:
        """Rotation (3, 3) from the camera's axes at the end of an interval to those at its start, without bias.

        None where the measurements do not cover it without a gap.
        """
        t_us = self.imu.t_us
        if start_us < t_us[0] or stop_us > t_us[-1] or stop_us <= start_us:
            return None
        inside = slice(int(np.searchsorted(t_us, start_us, "right")), int(np.searchsorted(t_us, stop_us)))
        if np.diff(t_us[inside.start - 1 : inside.stop + 1]).max() > _LONGEST_GAP_US:
            return None
        times = np.concatenate([[start_us], t_us[inside], [stop_us]])
        ends = np.stack([np.interp([start_us, stop_us], t_us, column) for column in self.imu.gyro.T], 1)
        rates = np.concatenate([ends[:1], self.imu.gyro[inside], ends[1:]]) - self.bias
        return np.asarray(turned((times - start_us) * _US, rates)[-1].as_matrix())

    def learn(self, start_us: int, stop_us: int, omega: np.ndarray) -> None:
        """Take notice of the angular velocity (3,) that the events of an interval show."""
        raw = self._raw(start_us, stop_us)
        if raw is None:
            return
        duration = (stop_us - start_us) * _US
        self.known_s = min(self.known_s + duration, self.config.bias_time_s)
        self.bias = self.bias + (raw - omega - self.bias) * min(duration / self.known_s, 1.0)

    def latency(self, omega: Callable[[np.ndarray], np.ndarray], t_us: np.ndarray) -> float | None:
        """How much later than the gyroscope the events tell of a motion, in seconds.

        Least squares of omega(t) against the rate at t - latency, each less its mean, in +- `max_latency_ms`.

        Args:
            omega: angular velocity (M, 3) of the trajectory at times (M,) in microseconds.
            t_us: (M,) times to compare at.

        Returns:
            None where the gyroscope does not cover ten times, or hardly anything turns.
        """
        reach = self.config.max_latency_ms * 1e-3
        border = reach / _US + _HALF_US
        covered = (t_us > self.imu.t_us[0] + border) & (t_us < self.imu.t_us[-1] - border)
        if np.count_nonzero(covered) < 10:
            return None
        times = t_us[covered]
        seen = omega(times)
        if float(seen.std()) < self.config.min_spread:
            return None

        def cost(shift: float) -> float:
            # means over an interval: single samples would be noisier at multiples of their distance than between
            at = times - shift / _US
            ends = (self._integral(at + sign * _HALF_US) for sign in (1, -1))
            difference = seen - (next(ends) - next(ends)) / (2 * _HALF_US * _US)
            return float(np.square(difference - np.median(difference, 0)).clip(max=1.0).mean())

        return float(minimize_scalar(cost, bounds=(-reach, reach), method="bounded").x)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {"bias": torch.from_numpy(self.bias), "known_s": self.known_s}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another one."""
        self.bias, self.known_s = state["bias"].numpy(), state["known_s"]

    def _raw(self, start_us: int, stop_us: int) -> np.ndarray | None:
        t_us = self.imu.t_us
        if start_us < t_us[0] or stop_us > t_us[-1] or stop_us <= start_us:
            return None
        start, stop = self._integral(np.array([start_us, stop_us]))
        return np.asarray((stop - start) / ((stop_us - start_us) * _US))

    def _integral(self, t_us: np.ndarray) -> np.ndarray:
        return np.stack([np.interp(t_us, self.imu.t_us, angle) for angle in self._angle.T], 1)
