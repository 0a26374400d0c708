"""Does the camera only rotate? Decided from the data, for mode `auto`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from evslam.config import Config
from evslam.geometry.camera import Camera
from evslam.settings import AutoConfig
from evslam.tracking.motion import ConstantVelocity
from evslam.tracking.velocity import VelocityTracker
from evslam.types import EventBatch, TrackingState

MIN_BATCHES = 3


@dataclass(frozen=True)
class ModeChoice:
    """The mode to run, and in words why."""

    mode: str
    reason: str


def choose_mode(batches: Iterable[EventBatch], camera: Camera, config: Config) -> ModeChoice:
    """Compare how much sharper an SE(3) motion makes the first batches than a rotation does.

    A camera that only rotates gains nothing from the three further parameters (their prior even costs a little);
    a translating one does wherever depth or parallax bends the flow.

    Args:
        batches: from the beginning of the recording; as many as `config.auto` asks for are used.
        camera: calibrated camera.
        config: resolved configuration.
    """
    modes = ("rotation", "6dof")
    trackers = {mode: VelocityTracker(camera, config.tracker, config.batch, mode) for mode in modes}
    models = {mode: ConstantVelocity(config.tracker.rest_decay_s) for mode in modes}
    ratios: list[float] = []
    for batch in batches:
        gains = [_gain(trackers[mode], models[mode], batch) for mode in modes]
        if None not in gains:
            ratios.append(float(gains[1] or 0.0) / float(gains[0] or 1.0) - 1)
        if len(ratios) == config.auto.num_batches:
            break
    return _decide(ratios, config.auto)


def _gain(tracker: VelocityTracker, motion: ConstantVelocity, batch: EventBatch) -> float | None:
    estimate = tracker.estimate(batch, motion.twist, motion.known)
    motion.advance(batch, estimate.twist, estimate.state)
    return estimate.gain if estimate.state is TrackingState.TRACKING else None


def _decide(ratios: list[float], config: AutoConfig) -> ModeChoice:
    if len(ratios) < MIN_BATCHES:
        return ModeChoice("rotation", f"{len(ratios)} measured batches are too few to tell ({MIN_BATCHES} needed)")
    median = float(np.median(ratios))
    mode = "6dof" if median > config.min_gain else "rotation"
    comparison = "above" if mode == "6dof" else "not above"
    return ModeChoice(
        mode,
        f"over the first {len(ratios)} measured batches SE(3) is {100 * median:.3f} % sharper than a rotation "
        f"(median), {comparison} the limit of {100 * config.min_gain:.3f} %",
    )
