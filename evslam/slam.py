"""The SLAM system: one readable step per event batch."""

from __future__ import annotations

from typing import Any

import torch

from evslam.config import Config
from evslam.geometry.camera import Camera
from evslam.mapping.panorama import Panorama
from evslam.tracking.motion import ConstantVelocity
from evslam.tracking.velocity import VelocityTracker
from evslam.types import EventBatch, TrackResult


class EventSlam:
    """Tracks and maps a stream of event batches.

    Args:
        camera: calibrated camera.
        config: resolved configuration.
        mode: rotation (SO(3), panoramic map) or 6dof (SE(3) velocity in scene depths, no map yet).
    """

    def __init__(self, camera: Camera, config: Config, mode: str) -> None:
        self.motion = ConstantVelocity(config.tracker.rest_decay_s)
        self.tracker = VelocityTracker(camera, config.tracker, config.batch, mode)
        self.panorama = Panorama(config.map, torch.device(config.run.device)) if mode == "rotation" else None

    def process(self, batch: EventBatch) -> TrackResult:
        """One step: predict the motion, sharpen the batch's image of warped events, integrate the pose, map.

        Args:
            batch: undistorted events; intervals of successive batches follow each other.

        Returns:
            Pose and twist at the batch's t_ref, and how far to trust them.
        """
        motion = self.motion
        estimate = self.tracker.estimate(batch, prior=motion.twist, warm=motion.known)
        T_world_cam = motion.advance(batch, estimate.twist, estimate.state)
        twist = torch.from_numpy(motion.twist)
        if self.panorama is not None and motion.known:
            self.panorama.add(batch, twist.to(batch.t), T_world_cam)
        return TrackResult(
            t_ref_us=batch.t_ref_us,
            T_world_cam=T_world_cam,
            twist=twist,
            state=motion.state,
            contrast=estimate.gain,
            evaluations=estimate.evaluations,
            num_events=batch.num_events,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on after the last batch."""
        panorama = None if self.panorama is None else self.panorama.state_dict()
        return {"motion": self.motion.state_dict(), "tracker": self.tracker.state_dict(), "panorama": panorama}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of an earlier run."""
        self.motion.load_state_dict(state["motion"])
        self.tracker.load_state_dict(state["tracker"])
        if self.panorama is not None:
            self.panorama.load_state_dict(state["panorama"])
