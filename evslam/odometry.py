"""6-DoF behind the point tracks: start, pose of every frame, and when a frame becomes a keyframe."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evslam.config import Config
from evslam.geometry.canvas import Canvas
from evslam.mapper import Around, Mapper, TimedPoses, Worker, at_once, mean_twist
from evslam.mapping.edge_pose import EdgeHost
from evslam.multiview.edges import EdgeImage, EdgeLevel, EdgePoints
from evslam.multiview.observations import Observations, PointSightings
from evslam.multiview.sparse_map import Keyframe, SparseMap
from evslam.placing import place_by_edges
from evslam.settings_tracking import BootstrapConfig
from evslam.state import from_state, to_state
from evslam.tracking.bootstrap import Bootstrap, Start, deviation
from evslam.tracking.gyro import Gyro
from evslam.tracking.horizon import Turns, horizon_of
from evslam.tracking.point_pose import PointPose, pose_from_points
from evslam.tracking.start import Candidate, Sightings
from evslam.types import PointFrame, TrackingState

EventWindow = Callable[[int, float], Around]
_WIDER = 1.5  # triangulation angle of a later start over that of the first, for it to settle the matter
_RECENT = 16  # poses from which the motion around a moment is told
_STATE = (
    *("bootstrap", "is_started", "T_cam_world", "change", "misfits", "since_keyframe", "failures", "origin", "path"),
    *("inliers_at_keyframe", "frames", "pending_us", "recent", "segments", "inlier_share", "num_starts", "twist"),
    *("num_attempts", "last", "bend", "verify_until_us", "start_angle_deg"),
)
_MAPPER_STATE = ("map", "view", "hosts", "is_busy", "unlinked", "_before")


@dataclass(frozen=True)
class Segment:
    """A stretch of the recording with a map of its own.

    Attributes:
        map: keyframes, landmarks, edges.
        frames: from the first attempt to start to the end.
    """

    map: SparseMap
    frames: list[PointFrame]


_CLASSES = (
    *(Bootstrap, BootstrapConfig, Candidate, Sightings, Turns, Observations, PointSightings, PointFrame, PointPose),
    *(SparseMap, Keyframe, EdgeImage, EdgeLevel, EdgePoints, EdgeHost, Segment),
)


class Odometry:
    """Poses of point frames, from nothing.

    Args:
        config: resolved configuration.
        canvas: image plane.
        worker: does the mapping, perhaps in a thread of its own; None for at once. The result is the same.
        gyro: tells turns from frame to frame, and learns its bias; None does without.

    Attributes:
        mapper: the map.
        is_started: there is a map to track against.
        T_cam_world: (4, 4) float64 of the last frame, by its points.
        bend: (4, 4) from poses by points to poses by points and edges, as of the frame before.
        twist: (6,) (v, omega) in the camera frame, between the last two frames.
        inlier_share: of the last frame's points, those that agree with the map.
        num_starts: maps that were begun; num_attempts: how often solutions were compared.
    """

    def __init__(self, config: Config, canvas: Canvas, worker: Worker = at_once, gyro: Gyro | None = None) -> None:
        self.config, self.focal, self.gyro = config, canvas.focal, gyro
        self.mapper = Mapper(config, canvas, worker)
        self.bootstrap, self.is_started = Bootstrap(config.bootstrap, canvas.focal), False
        self.T_cam_world, self.change, self.bend = np.eye(4), np.eye(4), np.eye(4)
        self.twist, self.inlier_share = np.zeros(6), 0.0
        self.num_starts = self.num_attempts = self.since_keyframe = self.failures = self.inliers_at_keyframe = 0
        self.misfits = np.zeros(0, np.int64)  # per track: frames in a row that it was far from its landmark
        self.frames: list[PointFrame] = []  # all of this map's, in single precision
        self.segments: list[Segment] = []  # of maps that were lost
        self.last: tuple[int, PointPose] | None = None  # time and pose of the frame before
        self.recent: deque[tuple[int, np.ndarray]] = deque(maxlen=_RECENT)
        self.path: TimedPoses = []  # since the start
        self.origin = np.eye(4)  # pose of the first camera of the map
        self.verify_until_us = 0
        self.start_angle_deg = 0.0
        self.pending_us: int | None = None  # when the events around the newest keyframe are there

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        self.mapper.wait()
        mapper = {name: to_state(getattr(self.mapper, name)) for name in _MAPPER_STATE}
        return {name: to_state(getattr(self, name)) for name in _STATE} | {"mapper": mapper}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another odometry."""
        for name in _STATE:
            setattr(self, name, from_state(state[name], _CLASSES))
        for name in _MAPPER_STATE:
            setattr(self.mapper, name, from_state(state["mapper"][name], _CLASSES))

    def add(self, frame: PointFrame, events: EventWindow) -> TrackingState:
        """Track one more frame; afterwards `best_pose` is its pose if the state says TRACKING.

        Args:
            frame: tracked points.
            events: gives bearings (N, 2) and seconds after a time in microseconds (N,) of the events around it, within
                so many seconds on both sides.
        """
        self.frames.append(PointFrame(frame.t_us, frame.ids.astype(np.int32), frame.bearing.astype(np.float32)))
        if frame.is_resting:
            return TrackingState.SPARSE if self.is_started else TrackingState.STARTING
        if not self.is_started:
            start = self._look_for_start(frame)
            if start is None:
                return TrackingState.STARTING
            self.verify_until_us = frame.t_us + round(1e6 * self.config.bootstrap.verify_s)
            self._begin(start)
            return TrackingState.TRACKING
        turned = self._turned(frame.t_us)
        expected = [*turned, self.T_cam_world, self.change @ self.T_cam_world]
        horizon = horizon_of(turned[0], self.config.gyro.turn_weight) if turned else None
        pose = pose_from_points(frame, expected, self.mapper.view, self.focal, self.config.pose, horizon)
        if pose is None:
            return self._fail()
        self._align_last(events)
        self._move(frame, pose)
        refuting = self._refuting_start(frame)
        if refuting is not None:
            self._begin(refuting)
        else:
            self._map(frame, pose, events)
        return TrackingState.TRACKING

    @property
    def best_pose(self) -> np.ndarray:
        """T_cam_world (4, 4) of the last frame by its points, bent as edges have bent the pose of the frame before."""
        return self.bend @ self.T_cam_world

    def all_segments(self) -> list[Segment]:
        """The maps that were lost and the one at hand."""
        self.mapper.wait()
        return self.segments + ([Segment(self.mapper.map, self.frames)] if self.is_started else [])

    @property
    def num_frames(self) -> int:
        """Frames since the beginning, with a pose or without."""
        return len(self.frames) + sum(len(segment.frames) for segment in self.segments)

    def _look_for_start(self, frame: PointFrame) -> Start | None:
        before = self.bootstrap.num_attempts
        start = self.bootstrap.add(frame, self.gyro)
        self.num_attempts += self.bootstrap.num_attempts - before
        return start

    def _refuting_start(self, frame: PointFrame) -> Start | None:
        """For some time after a start, others are looked for over longer baselines; one that tells another path."""
        if frame.t_us > self.verify_until_us:
            return None
        start, t_us = self._look_for_start(frame), np.array([t_us for t_us, _ in self.path])
        if start is None or start.frames[0].t_us < t_us[0]:
            return None
        times = np.array([each.t_us for each in start.frames])
        parted = deviation(start.T_cam_world, times, np.stack([pose for _, pose in self.path]), t_us)
        if parted > self.config.bootstrap.max_deviation:
            return start
        if start.diagnosis.angle_deg > _WIDER * self.start_angle_deg:  # the same path over a much longer baseline
            self.verify_until_us = 0
        return None

    def _begin(self, start: Start) -> None:
        """A new map, and go on from the last frame of the start."""
        points, poses = self._placed(start)
        self.mapper.begin(start, points, poses)
        self.is_started, self.num_starts, self.failures = True, self.num_starts + 1, 0
        self.pending_us, self.last, self.bend, self.change = None, None, np.eye(4), np.eye(4)
        self.recent.clear()
        self.start_angle_deg = start.diagnosis.angle_deg
        self.path = [(frame.t_us, pose) for frame, pose in zip(start.frames, poses, strict=True)]
        self.T_cam_world = self.mapper.map.keyframes[-1].T_cam_world
        self._count_from_keyframe()

    def _placed(self, start: Start) -> tuple[np.ndarray, np.ndarray]:
        """Points (P, 3) and poses (C, 4, 4) of a start, moved and scaled into the world: its first camera stands where
        the last map was lost, and the median depth is as it was there; 1 at the very first start."""
        depth = 1.0
        if self.segments:
            last = self.segments[-1].map
            newest = last.keyframes[-1]
            seen, pose = newest.landmark[newest.landmark >= 0], newest.T_cam_world
            depth = float(np.median(last.points[seen] @ pose[2, :3] + pose[2, 3])) if len(seen) else 1.0
        scale = depth / float(np.median(start.points[start.good, 2]))
        T_world_start = np.linalg.inv(self.origin)
        poses = start.T_cam_world.copy()
        poses[:, :3, 3] *= scale
        points = scale * start.points @ T_world_start[:3, :3].T + T_world_start[:3, 3]
        return points, poses @ self.origin

    def _fail(self) -> TrackingState:
        """No pose: wait for a while, then put the map away and look for a new start, to go on from the last pose."""
        self.failures += 1
        if self.failures <= self.config.pose.max_failures:
            return TrackingState.SPARSE
        self.mapper.wait()
        self.segments.append(Segment(self.mapper.map, self.frames))
        self.bootstrap, self.origin = Bootstrap(self.config.bootstrap, self.focal), self.T_cam_world
        self.is_started, self.frames = False, []
        return TrackingState.LOST

    def _turned(self, t_us: int) -> list[np.ndarray]:
        """The last pose turned as the gyroscope tells; none without."""
        if self.gyro is None or not self.recent:
            return []
        turn = self.gyro.turn(self.recent[-1][0], t_us)
        return [] if turn is None else [np.vstack([turn.T @ self.T_cam_world[:3], self.T_cam_world[3:]])]

    def _move(self, frame: PointFrame, pose: PointPose) -> None:
        """The frame's pose becomes the last one."""
        self.failures = 0
        self.change = pose.T_cam_world @ np.linalg.inv(self.T_cam_world)
        self.twist = mean_twist([self.recent[-1], (frame.t_us, pose.T_cam_world)]) if self.recent else np.zeros(6)
        if self.gyro is not None and self.recent:
            self.gyro.learn(self.recent[-1][0], frame.t_us, self.twist[3:])
        self.T_cam_world, self.inlier_share = pose.T_cam_world, pose.num_inliers / len(pose.rows)
        self.recent.append((frame.t_us, pose.T_cam_world))
        if frame.t_us <= self.verify_until_us:
            self.path.append((frame.t_us, pose.T_cam_world))
        self.last = (frame.t_us, pose)
        self._note_misfits(frame, pose)

    def _align_last(self, events: EventWindow) -> None:
        """Place the frame before by the map's edges, too, now that the events on both sides of it are there."""
        mapper, config = self.mapper, self.config
        if self.last is None or config.edge_pose.objective == "none" or not mapper.hosts:
            return
        (t_us, pose), half_s = self.last, config.link.window_s / 2
        motion = self._around(t_us)
        if len(motion) < 2:
            return
        image = mapper.edge_image(pose.T_cam_world, pose.seen.points, events(t_us, half_s), mean_twist(motion))
        found = place_by_edges(mapper.imager, image, mapper.hosts, pose, config)
        if found is not None:
            self.bend = found @ np.linalg.inv(pose.T_cam_world)

    def _around(self, t_us: int) -> TimedPoses:
        """Recent poses around a moment."""
        return [each for each in self.recent if abs(each[0] - t_us) <= 1e6 * self.config.link.window_s]

    def _note_misfits(self, frame: PointFrame, pose: PointPose) -> None:
        """Tracks that stay away from their landmark for some frames lose it."""
        config, ids = self.config.pose, frame.ids[pose.rows]
        largest = int(frame.ids[-1])
        if largest >= len(self.misfits):
            self.misfits = np.concatenate([self.misfits, np.zeros(largest + 1024 - len(self.misfits), np.int64)])
        far = pose.error_px > config.misfit_px
        self.misfits[ids[far]] += 1
        self.misfits[ids[~far]] = 0
        wrong = ids[self.misfits[ids] >= config.max_misfits]
        if len(wrong):
            self.mapper.unlink(wrong)
            self.misfits[wrong] = 0

    def _map(self, frame: PointFrame, pose: PointPose, events: EventWindow) -> None:
        """Keyframes: made when due, worked on when the events on both sides are there, taken at a fixed frame after, so
        that runs repeat exactly."""
        mapper = self.mapper
        self.since_keyframe += 1
        if self.pending_us is not None and frame.t_us >= self.pending_us:
            self.pending_us, t_us = None, mapper.map.keyframes[-1].t_us
            mapper.extend(events(t_us, self.config.link.window_s / 2), mean_twist(self._around(t_us)))
        elif self.pending_us is None:
            is_keyframe = self._is_keyframe(frame, pose)
            if mapper.is_busy and (is_keyframe or self.since_keyframe >= self.config.window.delay_frames):
                self.T_cam_world = self.T_cam_world @ mapper.take()
            if is_keyframe:
                inlier = np.zeros(len(frame.ids), bool)
                inlier[pose.rows] = pose.error_px < self.config.pose.inlier_px
                mapper.add_keyframe(frame, pose.T_cam_world, inlier)
                self.pending_us = frame.t_us + round(5e5 * self.config.link.window_s)
                self._count_from_keyframe()

    def _is_keyframe(self, frame: PointFrame, pose: PointPose) -> bool:
        """After enough image motion, or when the view of the map has become thin."""
        config, newest = self.config.keyframe, self.mapper.map.keyframes[-1]
        if self.since_keyframe < config.min_frames:
            return False
        row, seen = newest.rows_of(frame.ids)
        moved = self.focal * np.linalg.norm(frame.bearing[seen] - newest.bearing[row[seen]], axis=1)
        far = len(moved) <= 5 or float(np.median(moved)) > config.motion_px
        return far or pose.num_inliers < config.min_share * self.inliers_at_keyframe

    def _count_from_keyframe(self) -> None:
        newest = self.mapper.map.keyframes[-1]
        self.inliers_at_keyframe = int((self.mapper.map.landmarks(newest.ids) >= 0).sum())
        self.since_keyframe = 0
