"""Where a tracked camera was in the last frames, and how it moved: what its next pose is expected from."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from evslam.geometry.rigid import inverse, rotation_vector, scaled
from evslam.geometry.similarity import Similarity
from evslam.multiview.observations import PointSightings
from evslam.state import from_state, to_state
from evslam.tracking.gyro import Gyro
from evslam.tracking.point_pose import PointPose

TimedPoses = list[tuple[int, np.ndarray]]  # microseconds and T_cam_world (4, 4)
_NUM_POSES = 16  # from which the motion around a moment is told
_STATE = ("T_cam_world", "change", "bend", "twist", "poses", "last")


class RecentMotion:
    """The last poses by points, and what edges say of them.

    Args:
        gyro: tells turns from frame to frame, and learns its bias; None does without.

    Attributes:
        T_cam_world: (4, 4) float64 of the last frame.
        change: (4, 4) from the pose before the last one to the last one.
        bend: (4, 4) from poses by points to poses by points and edges, as of the frame before.
        twist: (6,) (v, omega) in the camera frame, between the last two frames.
        poses: of the last frames since tracking began, with their times.
        last: time and pose of the last one; None before there is one.
    """

    def __init__(self, gyro: Gyro | None = None) -> None:
        self.gyro = gyro
        self.T_cam_world, self.change, self.bend, self.twist = np.eye(4), np.eye(4), np.eye(4), np.zeros(6)
        self.poses: deque[tuple[int, np.ndarray]] = deque(maxlen=_NUM_POSES)
        self.last: tuple[int, PointPose] | None = None

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {name: to_state(getattr(self, name)) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another one."""
        for name in _STATE:
            setattr(self, name, from_state(state[name], (PointPose, PointSightings)))

    def begin(self, T_cam_world: np.ndarray) -> None:
        """Tracking begins at a new place (4, 4); nothing is known of how the camera moves there."""
        self.T_cam_world, self.change, self.bend, self.last = T_cam_world, np.eye(4), np.eye(4), None
        self.poses.clear()

    def move(self, t_us: int, pose: PointPose) -> None:
        """The camera was tracked to a pose."""
        self.change = pose.T_cam_world @ np.linalg.inv(self.T_cam_world)
        self.twist = mean_twist([self.poses[-1], (t_us, pose.T_cam_world)]) if self.poses else np.zeros(6)
        if self.gyro is not None and self.poses:
            self.gyro.learn(self.poses[-1][0], t_us, self.twist[3:])
        self.T_cam_world, self.last = pose.T_cam_world, (t_us, pose)
        self.poses.append((t_us, pose.T_cam_world))

    def bend_to(self, T_cam_world: np.ndarray, by_points: np.ndarray) -> None:
        """Points and edges together say that a frame's pose is this one (4, 4), not that by points."""
        self.bend = T_cam_world @ inverse(by_points)

    def follow(self, change: np.ndarray) -> None:
        """The map around the camera was adjusted: T_cam_world becomes T_cam_world @ change (4, 4)."""
        self.T_cam_world = self.T_cam_world @ change

    def carry(self, pose: PointPose, moved: Similarity) -> PointPose:
        """The world around the camera was moved, by a loop that was closed; returns the last pose there.

        Args:
            pose: the last one.
            moved: one similarity.
        """
        self.T_cam_world, scale = moved.carry(self.T_cam_world), float(moved.scale[0])
        self.poses = deque(((t_us, moved.carry(each)) for t_us, each in self.poses), _NUM_POSES)
        self.change, self.bend = scaled(self.change, scale), scaled(self.bend, scale)
        self.twist = np.repeat((scale, 1.0), 3) * self.twist
        pose = pose.moved(moved)
        self.last = self.poses[-1][0], pose
        return pose

    def turned(self, t_us: int) -> np.ndarray | None:
        """The last pose (4, 4), turned on to a time as the gyroscope tells; None if it tells nothing."""
        if self.gyro is None or not self.poses:
            return None
        turn = self.gyro.turn(self.poses[-1][0], t_us)
        return None if turn is None else np.vstack([turn.T @ self.T_cam_world[:3], self.T_cam_world[3:]])

    def expected(self) -> list[np.ndarray]:
        """The next pose (4, 4), at rest and at constant velocity."""
        return [self.T_cam_world, self.change @ self.T_cam_world]

    def around(self, t_us: int, within_s: float) -> TimedPoses:
        """Poses of the frames that are so near to a moment."""
        return [each for each in self.poses if abs(each[0] - t_us) <= 1e6 * within_s]

    @property
    def best_pose(self) -> np.ndarray:
        """T_cam_world (4, 4) of the last frame by its points, bent as edges have bent the pose of the frame before."""
        return self.bend @ self.T_cam_world

    def covariance(self, t_us: int) -> np.ndarray:
        """(6, 6) of the pose at a frame's time, see `TrackResult.covariance`; NaN if points did not place that frame.

        It is that of the pose by points. That by points and edges would be four times as sure as it is right: the edges
        of neighbouring keyframes are the same.
        """
        if self.last is None or self.last[0] != t_us:
            return np.full((6, 6), np.nan)
        return self.last[1].covariance


def mean_twist(poses: TimedPoses) -> np.ndarray:
    """Mean twist (v, omega) (6,) in the camera frame from the first to the last of timed poses."""
    (start_us, before), (stop_us, after) = poses[0], poses[-1]
    change, seconds = after @ inverse(before), max((stop_us - start_us) * 1e-6, 1e-6)
    return -np.concatenate([change[:3, 3], rotation_vector(change[:3, :3])]) / seconds
