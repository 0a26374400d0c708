"""From event batches to point frames: event images, tracked points, and how fast the image moves."""

from __future__ import annotations

import numpy as np

from evslam.config import Config
from evslam.geometry.camera import Camera
from evslam.geometry.canvas import Canvas
from evslam.tracking.event_frame import EventFrame, FrameBuilder
from evslam.tracking.image_flow import rotation_flow
from evslam.tracking.points import PointTracker
from evslam.tracking.velocity import VelocityTracker
from evslam.types import EventBatch, PointFrame, TrackingState


class FrontEnd:
    """Makes an image of every batch and tracks points on it.

    Args:
        camera: calibrated camera.
        canvas: its undistorted image plane.
        config: resolved configuration.
    """

    def __init__(self, camera: Camera, canvas: Canvas, config: Config) -> None:
        self.canvas, self.config = canvas, config
        self.builder = FrameBuilder(canvas, config.frame)
        self.points = PointTracker(canvas, config.points)
        self.rotation = VelocityTracker(camera, config.tracker, config.batch, "rotation")
        self.frame: EventFrame | None = None

    def take(self, batch: EventBatch) -> PointFrame:
        """Points at the end of a batch, which follows the last one."""
        points = self.points
        if len(points.ids) < self.config.points.min_points:
            points.flow = self._flow(batch)
        self.frame = self.builder.build(batch, points.flow, points.median_speed)
        points.track(self.frame)
        return PointFrame(
            batch.stop_us, points.ids, self.canvas.bearings(points.place), self.frame.votes.astype(np.float16)
        )

    @property
    def pace(self) -> float:
        """Expected image motion, canvas pixels per second."""
        return self.points.speed

    def _flow(self, batch: EventBatch) -> np.ndarray:
        """Without points, the affine flow of the rotation that makes the batch sharpest."""
        found = self.rotation.estimate(batch, np.zeros(6), warm=False)
        if found.state is not TrackingState.TRACKING:
            return np.zeros(6)
        return rotation_flow(found.twist[3:], self.canvas.focal)
