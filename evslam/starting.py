"""When 6-DoF tracking starts, and for how long others than the start taken are still looked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evslam.multiview.observations import Observations
from evslam.settings_tracking import BootstrapConfig
from evslam.state import from_state, to_state
from evslam.tracking.bootstrap import Bootstrap, Start, deviation
from evslam.tracking.gyro import Gyro
from evslam.tracking.horizon import Turns
from evslam.tracking.recent_motion import TimedPoses
from evslam.tracking.start import Candidate, Sightings
from evslam.types import PointFrame

_WIDER = 1.5  # triangulation angle of a later start over that of the first, for it to settle the matter
_STATE = ("bootstrap", "num_attempts", "path", "since_us", "verify_until_us", "angle_deg", "sigma")
_CLASSES = (Bootstrap, BootstrapConfig, Candidate, Sightings, Turns, Observations, PointFrame)


class Starting:
    """Looks for a start, and after it for others that refute it.

    Args:
        config: limits.
        focal: pixels per unit of bearing.
        gyro: helps, if there is one.

    Attributes:
        num_attempts: how often solutions were compared.
        path: poses since the first camera of the start, while it is verified.
        since_us: since when there is no map; None before the first frame without one.
    """

    def __init__(self, config: BootstrapConfig, focal: float, gyro: Gyro | None) -> None:
        self.config, self.focal, self.gyro = config, focal, gyro
        self.bootstrap, self.num_attempts = Bootstrap(config, focal), 0
        self.path: TimedPoses = []
        self.since_us: int | None = None
        self.verify_until_us, self.angle_deg, self.sigma = 0, 0.0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {name: to_state(getattr(self, name)) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another search."""
        for name in _STATE:
            setattr(self, name, from_state(state[name], _CLASSES))

    def anew(self, frames: Sequence[PointFrame] = ()) -> None:
        """Forget what was seen, but for these frames: tracking was lost, or followed an object."""
        self.bootstrap = Bootstrap(self.config, self.focal)
        for frame in frames:
            self.bootstrap.remember(frame)

    def look(self, frame: PointFrame) -> Start | None:
        """One more frame before there is a map; the start, once one is sure. After a long wait, one that later starts
        may refute is better than none."""
        self.since_us = frame.t_us if self.since_us is None else self.since_us
        start = self._try(frame, in_need=frame.t_us > self.since_us + 1e6 * self.config.patience_s)
        if start is not None:
            self.verify_until_us = frame.t_us + round(1e6 * self.config.verify_s)
        return start

    def begin(self, start: Start, poses: np.ndarray) -> None:
        """A start was taken, with these poses T_cam_world (C, 4, 4) in the world."""
        self.since_us, self.angle_deg, self.sigma = None, start.diagnosis.angle_deg, start.diagnosis.sigma
        self.path = [(frame.t_us, pose) for frame, pose in zip(start.frames, poses, strict=True)]

    def follow(self, t_us: int, T_cam_world: np.ndarray) -> None:
        """The camera was tracked to this pose (4, 4)."""
        if t_us <= self.verify_until_us:
            self.path.append((t_us, T_cam_world))

    def settle(self) -> None:
        """There is a map, and no more doubt about its start."""
        self.since_us, self.verify_until_us = None, 0

    def refuting(self, frame: PointFrame) -> Start | None:
        """For some time after a start, others are looked for over longer baselines; one that is surer and tells
        another path."""
        if frame.t_us > self.verify_until_us:
            return None
        start, t_us = self._try(frame), np.array([t_us for t_us, _ in self.path])
        if start is None or start.frames[0].t_us < t_us[0]:
            return None
        times = np.array([each.t_us for each in start.frames])
        parted = deviation(start.T_cam_world, times, np.stack([pose for _, pose in self.path]), t_us)
        if parted > self.config.max_deviation:
            return start if start.diagnosis.sigma < self.sigma else None
        if start.diagnosis.angle_deg > _WIDER * self.angle_deg:  # the same path over a much longer baseline
            self.settle()
        return None

    def _try(self, frame: PointFrame, *, in_need: bool = False) -> Start | None:
        before = self.bootstrap.num_attempts
        start = self.bootstrap.add(frame, self.gyro, in_need=in_need)
        self.num_attempts += self.bootstrap.num_attempts - before
        return start
