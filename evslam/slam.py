"""The two SLAM systems: one readable step per event batch."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from evslam.beside import in_thread
from evslam.config import Config
from evslam.geometry.camera import Camera
from evslam.geometry.canvas import Canvas
from evslam.geometry.trajectory import camera_poses
from evslam.multiview.sparse_map import SparseMap
from evslam.odometry import Odometry
from evslam.panoramic import PanoramicTracker
from evslam.tracking.event_frame import RecentEvents
from evslam.tracking.front_end import FrontEnd
from evslam.tracking.gyro import Gyro
from evslam.tracking.motion import ConstantVelocity
from evslam.tracking.velocity import VelocityTracker
from evslam.types import EventBatch, Imu, Picture, PointFrame, TrackingState, TrackResult, Trajectory

_IDENTITY = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
MOST_AHEAD = 8  # batches that are seen before one is placed: a search for a start takes as long
_BEFORE_US = 1_000_000  # that the map of an earlier recording ends before this one


class EventSlam(Protocol):
    """Tracks and maps a stream of event batches."""

    def process(self, batch: EventBatch) -> TrackResult:
        """One step.

        Args:
            batch: undistorted events; intervals of successive batches follow each other.

        Returns:
            Pose and twist at the batch's t_ref, and how far to trust them.
        """

    def picture(self, batch: EventBatch, result: TrackResult) -> Picture:
        """What a viewer shows after the last batch."""

    @property
    def pace(self) -> float:
        """Expected image motion, pixels per second."""

    @property
    def fit(self) -> float:
        """How well the map agrees with the last batch, 0 to 1: whether this is the right system for the recording."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on after the last batch."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of an earlier run."""


class RotationSlam:
    """A camera that turns: SO(3) spline and panorama.

    Args:
        camera: calibrated camera.
        config: resolved configuration.
        imu: a gyroscope to expect rotations from; None does without.
    """

    def __init__(self, camera: Camera, config: Config, imu: Imu | None = None) -> None:
        self.focal = camera.fx
        self.gyro = Gyro(imu, config.gyro) if imu is not None else None
        self.motion = ConstantVelocity(config.tracker.rest_decay_s)
        self.tracker = VelocityTracker(camera, config.tracker, config.batch, "rotation")
        self.panoramic = PanoramicTracker(config, camera.fx)

    def process(self, batch: EventBatch) -> TrackResult:
        """One step: predict the motion, sharpen the batch's image of warped events, align it with the map, map.

        Args:
            batch: undistorted events; intervals of successive batches follow each other.

        Returns:
            Pose and twist at the batch's t_ref, and how far to trust them.
        """
        motion, expected = self.motion, self._expected(batch)
        prior = motion.twist if expected is None else expected
        estimate = self.tracker.estimate(batch, prior=prior, warm=motion.known or expected is not None)
        motion.advance(batch.duration_s, estimate.twist, estimate.state, bridge=expected)
        twist = motion.twist
        state, evaluations, path, pose = motion.state, estimate.evaluations, None, _IDENTITY
        if state is not TrackingState.STARTING:
            trajectory, state, spent = self.panoramic.take(batch, motion.twist[3:], state)
            pose, tracked = trajectory.poses(np.array([batch.t_ref_us]))[0], state is TrackingState.TRACKING
            if tracked:
                motion.correct(trajectory.omega(np.array([batch.stop_us]))[0])
            path, evaluations = trajectory.sampled(batch.start_us, batch.stop_us), evaluations + spent
            if self.gyro is not None and tracked:
                self.gyro.learn(batch.start_us, batch.stop_us, estimate.twist[3:])
        return TrackResult(
            t_ref_us=batch.t_ref_us,
            T_world_cam=torch.from_numpy(pose),
            twist=torch.from_numpy(twist),
            state=state,
            contrast=estimate.gain,
            evaluations=evaluations,
            num_events=batch.num_events,
            covariance=torch.from_numpy(estimate.covariance),
            path=path,
        )

    def _expected(self, batch: EventBatch) -> np.ndarray | None:
        """Twist (6,) by the gyroscope."""
        rate = None if self.gyro is None else self.gyro.rate(batch.start_us, batch.stop_us)
        return None if rate is None else np.concatenate([np.zeros(3), rate])

    def picture(self, batch: EventBatch, result: TrackResult) -> Picture:
        """The batch's events, compensated by the motion that was found."""
        with torch.no_grad():
            return Picture(self.tracker.contrast(batch).iwe(result.twist.to(batch.t)).cpu().numpy())

    @property
    def pace(self) -> float:
        """Expected image motion by rotation, pixels per second."""
        return float(np.linalg.norm(self.motion.twist[3:])) * self.focal

    @property
    def fit(self) -> float:
        """Agreement with the panorama; 0 while lost, 1 before the first check."""
        return 0.0 if self.panoramic.lost_us else self.panoramic.agreement

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on after the last batch."""
        parts: dict[str, Any] = {"motion": self.motion, "tracker": self.tracker}
        parts |= {"panoramic": self.panoramic, "gyro": self.gyro}
        return {name: None if part is None else part.state_dict() for name, part in parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of an earlier run."""
        self.motion.load_state_dict(state["motion"])
        self.tracker.load_state_dict(state["tracker"])
        self.panoramic.load_state_dict(state["panoramic"])
        if self.gyro is not None:
            self.gyro.load_state_dict(state["gyro"])


@dataclass(frozen=True)
class Seen:
    """What the front-end makes of a batch: points on its event image, and the events of the last moments."""

    frame: PointFrame
    events: RecentEvents


class SpatialSlam:
    """A camera that moves freely: points tracked over event images, keyframes, semi-dense edges, bundle adjustment.

    Args:
        camera: calibrated camera.
        config: resolved configuration.
        imu: a gyroscope to expect turns from; None does without.
    """

    def __init__(self, camera: Camera, config: Config, imu: Imu | None = None) -> None:
        self.canvas = Canvas.of(camera, config.frame.canvas_width, config.frame.canvas_margin)
        self.gyro = Gyro(imu, config.gyro) if imu is not None else None
        unlearned = Gyro(imu, config.gyro) if imu is not None else None  # the front-end may be ahead of what is learned
        self.front_end = FrontEnd(camera, self.canvas, config, unlearned)
        self.shown = np.zeros((self.canvas.height, self.canvas.width), np.float32)
        self.odometry = Odometry(config, self.canvas, in_thread, self.gyro)
        self.even = deque([True] * (MOST_AHEAD + 1))  # whether points are to be spread evenly in the next batches

    def process(self, batch: EventBatch) -> TrackResult:
        """One step: track points on the batch's event image, place the camera by their landmarks, extend the map.

        Args:
            batch: undistorted events with their sensor pixels; intervals of successive batches follow each other.

        Returns:
            Pose and twist at the end of the batch, and how far to trust them.
        """
        return self.place(batch, self.see(batch))

    def see(self, batch: EventBatch) -> Seen:
        """The first half of a step, which needs of the second half what was known `MOST_AHEAD` batches ago: while one
        batch is placed, so many may be seen in another thread."""
        return Seen(self.front_end.take(batch, even=self.even.popleft()), self.front_end.builder.events())

    def place(self, batch: EventBatch, seen: Seen) -> TrackResult:
        """The second half of a step."""
        frame, odometry = seen.frame, self.odometry
        self.shown = self.shown if frame.votes is None else frame.votes
        state = odometry.add(frame, seen.events.around)
        self.even.append(odometry.is_unsure)
        if odometry.is_elsewhere:
            state = TrackingState.STARTING
        return TrackResult(
            t_ref_us=frame.t_us,
            T_world_cam=torch.from_numpy(camera_poses(odometry.motion.best_pose[None])[0]),
            twist=torch.from_numpy(odometry.motion.twist),
            state=state,
            contrast=odometry.inlier_share,
            evaluations=0,
            num_events=batch.num_events,
            covariance=torch.from_numpy(odometry.motion.covariance(frame.t_us)),
        )

    def look_in(self, map_: SparseMap, start_us: int) -> None:
        """Before the first batch: the camera is to be found in the map of an earlier recording, and tracked there.

        Args:
            map_: changed in place: its keyframes get times before the start; its tracks' numbers are not used again.
            start_us: of the recording.
        """
        shift_us = start_us - _BEFORE_US - map_.keyframes[-1].t_us
        for keyframe in map_.keyframes:
            keyframe.t_us += shift_us
        self.front_end.points.next_id = 1 + max(int(keyframe.ids.max(initial=-1)) for keyframe in map_.keyframes)
        self.odometry.atlas.give(map_)

    def picture(self, batch: EventBatch, result: TrackResult) -> Picture:
        """The latest events on the canvas, the edges of the last keyframes in them, and the map."""
        canvas, mapper, image = self.canvas, self.odometry.mapper, self.shown.astype(np.float32)
        keyframes = list(mapper.map.keyframes)
        if not self.odometry.is_started or not mapper.hosts:
            return Picture(image)
        pose = self.odometry.motion.best_pose
        seen = np.concatenate([host.world_points for host in mapper.hosts]) @ pose[:3, :3].T + pose[:3, 3]
        seen = seen[seen[:, 2] > 0]
        pixels = canvas.pixels(seen[:, :2] / seen[:, 2:])
        inside = ((pixels >= 0) & (pixels < (canvas.width, canvas.height))).all(1)
        poses = camera_poses(np.stack([keyframe.T_cam_world for keyframe in keyframes]))
        times = np.array([keyframe.t_us for keyframe in keyframes])
        return Picture(image, pixels[inside], seen[inside, 2], mapper.points(), Trajectory(times, poses))

    @property
    def pace(self) -> float:
        """Expected image motion, canvas pixels per second."""
        return self.front_end.pace

    @property
    def fit(self) -> float:
        """1 once there has been a start: there is parallax, then."""
        return float(self.odometry.is_started or self.odometry.num_starts > 0)

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on after the last batch."""
        parts: dict[str, Any] = {"front_end": self.front_end, "odometry": self.odometry, "gyro": self.gyro}
        state = {name: None if part is None else part.state_dict() for name, part in parts.items()}
        return state | {"even": list(self.even)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of an earlier run."""
        self.even = deque(state["even"])
        self.front_end.load_state_dict(state["front_end"])
        self.odometry.load_state_dict(state["odometry"])
        if self.gyro is not None:
            self.gyro.load_state_dict(state["gyro"])
