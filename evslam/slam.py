"""The SLAM system: one readable step per event batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from evslam.backend.rotation_trajectory import RotationTrajectory, panorama_grid
from evslam.config import Config
from evslam.geometry.camera import Camera
from evslam.mapping.panorama import Panorama
from evslam.tracking.motion import ConstantVelocity
from evslam.tracking.velocity import VelocityTracker
from evslam.types import EventBatch, TrackingState, TrackResult


class EventSlam:
    """Tracks and maps a stream of event batches.

    Args:
        camera: calibrated camera.
        config: resolved configuration.
        mode: rotation (SO(3): spline and panorama) or 6dof (SE(3) velocity in scene depths, no map yet).
    """

    def __init__(self, camera: Camera, config: Config, mode: str) -> None:
        self.config, self.mode, self.focal = config, mode, camera.fx
        self.motion = ConstantVelocity(config.tracker.rest_decay_s)
        self.tracker = VelocityTracker(camera, config.tracker, config.batch, mode)
        self.trajectory: RotationTrajectory | None = None  # from the first tracked batch of a rotation on
        self.panorama = Panorama(panorama_grid(config.adjust, config.adjust.width)) if mode == "rotation" else None

    def process(self, batch: EventBatch) -> TrackResult:
        """One step: predict the motion, sharpen the batch's image of warped events, align it with the map, map.

        Args:
            batch: undistorted events; intervals of successive batches follow each other.

        Returns:
            Pose and twist at the batch's t_ref, and how far to trust them.
        """
        motion = self.motion
        estimate = self.tracker.estimate(batch, prior=motion.twist, warm=motion.known)
        T_world_cam = motion.advance(batch, estimate.twist, estimate.state)
        evaluations, path = estimate.evaluations, None
        if self.panorama is not None and motion.state is not TrackingState.STARTING:
            trajectory, spent = self._align(batch, self.panorama)
            evaluations, path = evaluations + spent, trajectory.sampled(batch.start_us, batch.stop_us)
            T_world_cam = torch.from_numpy(trajectory.poses(np.array([batch.t_ref_us]))[0])
        return TrackResult(
            t_ref_us=batch.t_ref_us,
            T_world_cam=T_world_cam,
            twist=torch.from_numpy(motion.twist),
            state=motion.state,
            contrast=estimate.gain,
            evaluations=evaluations,
            num_events=batch.num_events,
            path=path,
        )

    def _align(self, batch: EventBatch, panorama: Panorama) -> tuple[RotationTrajectory, int]:
        """Rotation: the spline takes the batch, its newest part is made sharpest on the panorama, which then grows."""
        motion = self.motion
        if self.trajectory is None:
            self.trajectory = RotationTrajectory(self.config.adjust, self.focal, batch.start_us, motion.twist[3:])
        trajectory, tracked = self.trajectory, motion.state is TrackingState.TRACKING
        trajectory.extend(batch, motion.twist[3:], measured=tracked)
        evaluations = trajectory.adjust(panorama.grid, panorama.flat) if tracked else 0
        left = trajectory.retire()
        if left is not None:
            panorama.add(*left)
        motion.correct(
            trajectory.poses(np.array([batch.stop_us]))[0], trajectory.omega(batch.stop_us) if tracked else None
        )
        return trajectory, evaluations

    def refine(self) -> None:
        """Adjust the whole trajectory of a rotation at once; the panorama is made anew."""
        if self.trajectory is not None:
            self.trajectory.refine()

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on after the last batch."""
        return {
            "motion": self.motion.state_dict(),
            "tracker": self.tracker.state_dict(),
            "panorama": None if self.panorama is None else self.panorama.state_dict(),
            "trajectory": None if self.trajectory is None else self.trajectory.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of an earlier run."""
        self.motion.load_state_dict(state["motion"])
        self.tracker.load_state_dict(state["tracker"])
        if self.panorama is not None:
            self.panorama.load_state_dict(state["panorama"])
        if state["trajectory"] is not None:
            self.trajectory = RotationTrajectory.from_state(self.config.adjust, self.focal, state["trajectory"])
