"""Does the camera only rotate? Decided from the data, for mode `auto`, and looked at again while the run goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evslam.config import Config
from evslam.geometry.camera import Camera
from evslam.settings import AutoConfig
from evslam.tracking.motion import ConstantVelocity
from evslam.tracking.velocity import VelocityTracker
from evslam.types import EventBatch, TrackingState

MIN_BATCHES = 3
_MODES = ("rotation", "6dof")
_NUMBERS = ("misfits", "from_us", "start_us", "tried", "fits", "batches")
_TRIES = 3  # batches looked at for one that is measured


@dataclass(frozen=True)
class ModeChoice:
    """The mode to run, and in words why."""

    mode: str
    reason: str


class GainMeter:
    """How much sharper an SE(3) motion makes successive batches than a rotation does.

    A camera that only rotates gains nothing from the three further parameters (their prior even costs a little);
    a translating one does wherever depth or parallax bends the flow.

    Attributes:
        gains: of the batches that both motions could be measured from.
    """

    def __init__(self, camera: Camera, config: Config) -> None:
        self.trackers = {mode: VelocityTracker(camera, config.tracker, config.batch, mode) for mode in _MODES}
        self.models = {mode: ConstantVelocity(config.tracker.rest_decay_s) for mode in _MODES}
        self.gains: list[float] = []

    def add(self, batch: EventBatch) -> None:
        """Measure a batch."""
        rotation, free = (self._sharpness(mode, batch) for mode in _MODES)
        if rotation is not None and free is not None:
            self.gains.append(free / rotation - 1)

    def _sharpness(self, mode: str, batch: EventBatch) -> float | None:
        tracker, motion = self.trackers[mode], self.models[mode]
        estimate = tracker.estimate(batch, motion.twist, motion.known)
        motion.advance(batch.duration_s, estimate.twist, estimate.state)
        return estimate.gain if estimate.state is TrackingState.TRACKING else None

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        parts = {mode: (self.trackers[mode].state_dict(), self.models[mode].state_dict()) for mode in _MODES}
        return {"parts": parts, "gains": list(self.gains)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another meter."""
        for mode, (tracker, model) in state["parts"].items():
            self.trackers[mode].load_state_dict(tracker)
            self.models[mode].load_state_dict(model)
        self.gains = list(state["gains"])


def choose_mode(batches: Iterable[EventBatch], camera: Camera, config: Config) -> ModeChoice:
    """The mode for a recording by its first batches.

    Args:
        batches: from the beginning of the recording; as many as `config.auto` asks for are used.
        camera: calibrated camera.
        config: resolved configuration.
    """
    meter = GainMeter(camera, config)
    for batch in batches:
        meter.add(batch)
        if len(meter.gains) == config.auto.num_batches:
            break
    return _decide(meter.gains, config.auto)


def _decide(gains: list[float], config: AutoConfig) -> ModeChoice:
    if len(gains) < MIN_BATCHES:
        return ModeChoice("rotation", f"{len(gains)} measured batches are too few to tell ({MIN_BATCHES} needed)")
    median = float(np.median(gains))
    mode = "6dof" if median > config.min_gain else "rotation"
    comparison = "above" if mode == "6dof" else "not above"
    return ModeChoice(
        mode,
        f"over the first {len(gains)} measured batches SE(3) is {100 * median:.3f} % sharper than a rotation "
        f"(median), {comparison} the limit of {100 * config.min_gain:.3f} %",
    )


class ModeWatch:
    """Looks at intervals whether the mode at hand still fits, by the gain and by how well its map agrees.

    The gain alone does not tell: a thing that moves before a turning camera looks like a translation. The panorama
    still agrees then.

    Args:
        camera: calibrated camera.
        config: resolved configuration.
        mode: at hand.
        from_us: what comes before is not looked at.
    """

    def __init__(self, camera: Camera, config: Config, mode: str, from_us: int = 0) -> None:
        self.camera, self.config, self.mode, self.from_us = camera, config, mode, from_us
        self.misfits = 0  # looks in a row
        self._begin(None)

    def _begin(self, start_us: int | None) -> None:
        self.meter, self.start_us, self.tried = GainMeter(self.camera, self.config), start_us, 0
        self.fits, self.batches, self.waiting = 0.0, 0, list[EventBatch]()

    def add(self, batch: EventBatch, fit: float) -> ModeChoice | None:
        """One more batch; batches follow each other.

        Args:
            batch: of either mode; short ones are joined.
            fit: how well the map agrees with it, see `EventSlam.fit`.

        Returns:
            The other mode when several looks in a row speak for it.
        """
        config = self.config.auto
        if batch.start_us < self.from_us:
            return None
        if self.start_us is None:
            self.start_us = batch.start_us
        self.fits, self.batches = self.fits + fit, self.batches + 1
        is_open = len(self.meter.gains) < config.look_batches and self.tried < _TRIES * config.look_batches
        if is_open and self.fits < self.batches * config.min_fit:  # nothing is measured while the map agrees
            self._measure(batch)
        if batch.stop_us < self.start_us + 1e6 * config.interval_s:
            return None
        choice = self._look()
        self.misfits = 0 if choice is None else self.misfits + 1
        self._begin(batch.stop_us)
        return choice if self.misfits >= config.looks else None

    def _measure(self, batch: EventBatch) -> None:
        """Measure batches of the length that contrast maximisation wants: 6-DoF frames are shorter."""
        self.waiting.append(batch)
        joined = len(self.waiting) * self.config.frame.step_px
        if self.mode == "rotation" or joined >= self.config.batch.max_displacement_px:
            self.meter.add(EventBatch.joined(self.waiting))
            self.waiting, self.tried = [], self.tried + 1

    def _look(self) -> ModeChoice | None:
        """The other mode, if what was seen since the last look speaks for it."""
        config, gains, fit = self.config.auto, self.meter.gains, self.fits / self.batches
        if len(gains) < MIN_BATCHES or fit >= config.min_fit:
            return None
        median = float(np.median(gains))
        told = f"SE(3) is {100 * median:.3f} % sharper than a rotation"
        if self.mode == "rotation" and median > config.sure_gain:
            return ModeChoice("6dof", f"{told}, and the panorama agrees by {fit:.2f} only")
        if self.mode == "6dof" and median < config.min_gain:
            return ModeChoice("rotation", f"{told}, and no start was found")
        return None

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        return numbers | {"meter": self.meter.state_dict(), "waiting": [dict(vars(each)) for each in self.waiting]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another watch on the same mode."""
        for name in _NUMBERS:
            setattr(self, name, state[name])
        self.meter.load_state_dict(state["meter"])
        self.waiting = [EventBatch(**each) for each in state["waiting"]]
