"""From event batches to point frames: event images, tracked points, and how fast the image moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from evslam.config import Config
from evslam.geometry.camera import Camera
from evslam.geometry.canvas import Canvas
from evslam.state import from_state, to_state
from evslam.tracking.event_frame import FrameBuilder
from evslam.tracking.frame_kernels import count_cells
from evslam.tracking.gyro import Gyro
from evslam.tracking.image_flow import rotation_flow
from evslam.tracking.points import PointTracker
from evslam.tracking.velocity import VelocityTracker
from evslam.types import EventBatch, PointFrame, TrackingState

_JOINED = 4  # cells of the canvas's grid, along x and y, in which events are counted


class FrontEnd:
    """Makes an image of every batch and tracks points on it.

    Args:
        camera: calibrated camera.
        canvas: its undistorted image plane.
        config: resolved configuration.
        gyro: tells how turns change from batch to batch; None does without.
    """

    def __init__(self, camera: Camera, canvas: Canvas, config: Config, gyro: Gyro | None = None) -> None:
        self.canvas, self.config = canvas, config
        self.gyro, self.last_rate = gyro, None if gyro is None else np.zeros(3)
        self.builder = FrameBuilder(canvas, config.frame)
        self.points = PointTracker(canvas, config.points)
        self.rotation = VelocityTracker(camera, config.tracker, config.batch, "rotation")
        self.usual_rate = 0.0  # events per second while the camera moves
        self.evenness = Evenness(canvas)

    def take(self, batch: EventBatch, *, even: bool = False) -> PointFrame:
        """Points at the end of a batch, which follows the last one; new ones evenly spread, or the strongest. While few
        events come, or mere noise, the camera counts as at rest: noise must not move the points, nor wear out the
        image."""
        points = self.points
        turning = self._turning(batch)
        if self._rests(batch):
            points.rest(batch.stop_us)
            return PointFrame(batch.stop_us, points.ids, self.canvas.bearings(points.place), is_resting=True)
        if len(points.ids) < self.config.points.min_points:
            points.flow = self._flow(batch)
        elif turning is not None:
            points.expect(rotation_flow(turning, self.canvas.focal))
        frame = self.builder.build(batch, points.flow, points.median_speed)
        points.track(frame, even=even)
        votes = torch.from_numpy(frame.votes).half().numpy()  # what numpy does, thirty times as fast
        return PointFrame(batch.stop_us, points.ids, self.canvas.bearings(points.place), votes, frame.signed)

    def _turning(self, batch: EventBatch) -> np.ndarray | None:
        """Change (3,) rad/s of the angular velocity since the last batch, by the gyroscope; its bias cancels out."""
        if self.gyro is None:
            return None
        before, self.last_rate = self.last_rate, self.gyro.rate(batch.start_us, batch.stop_us)
        return None if before is None or self.last_rate is None else self.last_rate - before

    def _rests(self, batch: EventBatch) -> bool:
        """Whether far fewer events come than usual; a rest that goes on becomes usual in the end. Or whether they are
        spread evenly over the sensor, as no scene spreads them: the lens is covered, or the light flickers."""
        if batch.pixel is not None and self.evenness.variance(batch.pixel.numpy()) < self.config.frame.min_variance:
            return True
        config, seconds = self.config.frame, batch.duration_s
        rate = batch.num_events / seconds
        rests = rate < config.rest_share * self.usual_rate
        memory_s = config.rest_memory_s[int(rests)]
        self.usual_rate += (1 - np.exp(-seconds / memory_s)) * (rate - self.usual_rate) if self.usual_rate else rate
        return rests

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        own = {"usual_rate": float(self.usual_rate), "last_rate": to_state(self.last_rate)}
        return {name: part.state_dict() for name, part in self._parts.items()} | own

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another front-end."""
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        self.usual_rate, self.last_rate = state["usual_rate"], from_state(state["last_rate"], ())

    @property
    def _parts(self) -> dict[str, Any]:
        return {"builder": self.builder, "points": self.points, "rotation": self.rotation}

    @property
    def pace(self) -> float:
        """Expected image motion in canvas pixels per second, within what the shortest and the longest step allow."""
        step_px, (shortest, longest) = self.config.frame.step_px, self.config.frame.step_s
        return min(max(self.points.speed, step_px / longest), step_px / shortest)

    def _flow(self, batch: EventBatch) -> np.ndarray:
        """Without points, the affine flow of the gyroscope's rotation, or of that which makes the batch sharpest."""
        if self.last_rate is not None:
            return rotation_flow(self.last_rate, self.canvas.focal)
        found = self.rotation.estimate(batch, np.zeros(6), warm=False)
        if found.state is not TrackingState.TRACKING:
            return np.zeros(6)
        return rotation_flow(found.twist[3:], self.canvas.focal)


class Evenness:
    """Tells noise from a scene by how events are spread over cells of the sensor.

    Args:
        canvas: its grid of sensor cells, joined by 4 x 4; those that the lens does not fill are left out.
    """

    def __init__(self, canvas: Canvas) -> None:
        height, width = canvas.cells
        rows, columns = np.divmod(np.arange(height * width), width)
        joined = rows // _JOINED * -(-width // _JOINED) + columns // _JOINED
        x, y = np.rint(canvas.sensor_cell[canvas.valid]).astype(int).T
        seen = np.zeros((height, width), bool)
        seen[y.clip(0, height - 1), x.clip(0, width - 1)] = True
        is_filled = np.bincount(joined, weights=seen.ravel()) > _JOINED**2 / 2
        is_filled &= np.bincount(joined) == _JOINED**2
        self._num_cells = int(is_filled.sum())  # those that are left out share one number more
        number = np.where(is_filled, np.cumsum(is_filled) - 1, self._num_cells).astype(np.int32)
        self._cell_of_pixel = number[joined[canvas.cell_of_pixel]]

    def variance(self, pixel: np.ndarray) -> float:
        """Relative variance of the rate of events over the cells, less that by chance: 0 for noise, 0.8 and more for
        batches of moving scenes.

        Args:
            pixel: (N,) flat index of each event's sensor pixel.
        """
        every = np.zeros(self._num_cells + 1, np.int64)
        count_cells(self._cell_of_pixel, pixel, every)
        counts = every[:-1]
        mean = counts.mean()
        return float((counts.var() - mean) / mean**2) if mean > 0 else 0.0
