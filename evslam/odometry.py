"""6-DoF behind the point tracks: start, pose of every frame, keyframes, and the map that grows with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.backend.window import adjust_window, choose_window
from evslam.config import Config
from evslam.geometry.canvas import Canvas
from evslam.mapping.edge_image import EdgeImager, inverse_depth_grid
from evslam.mapping.edge_pose import EdgeHost, pose_from_edges
from evslam.mapping.edge_tracks import link_edges, sweep_keyframe
from evslam.mapping.landmarks import add_new_landmarks
from evslam.multiview.edges import EdgeImage, EdgeLevel, EdgePoints
from evslam.multiview.observations import Observations
from evslam.multiview.sparse_map import Keyframe, SparseMap, rows_of
from evslam.settings import BootstrapConfig
from evslam.state import from_state, to_state
from evslam.tracking.bootstrap import Bootstrap, Start
from evslam.tracking.point_pose import PointPose, pose_from_points
from evslam.tracking.start import Candidate, Sightings
from evslam.types import PointFrame, TrackingState

EventWindow = Callable[[int, float], tuple[np.ndarray, np.ndarray]]
Worker = Callable[..., Callable[[], None]]
_RECENT = 16  # poses from which the motion around a keyframe is told
_STATE = (
    *("bootstrap", "map", "T_cam_world", "change", "misfits", "since_keyframe", "failures", "inliers_at_keyframe"),
    *("frames", "pending_us", "recent", "segments", "inlier_share", "num_starts", "twist", "num_attempts"),
    *("view", "mapping", "pose_before", "unlinked", "hosts", "last", "bend"),
)


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
    Bootstrap,
    Keyframe,
    SparseMap,
    EdgeImage,
    EdgeLevel,
    EdgePoints,
    PointFrame,
    Observations,
    Segment,
    BootstrapConfig,
    Candidate,
    Sightings,
)


def at_once(work: Callable[..., None], *arguments: Any) -> Callable[[], None]:
    """A worker that works at once; what it returns waits for nothing."""
    work(*arguments)
    return lambda: None


class Odometry:
    """Poses of point frames, from nothing.

    Args:
        config: resolved configuration.
        canvas: image plane.
        worker: does the mapping, perhaps in a thread of its own; None for at once. The result is the same.

    Attributes:
        map: None before the first start.
        T_cam_world: (4, 4) float64 of the last frame.
        twist: (6,) (v, omega) in the camera frame, between the last two frames.
        state: of the last frame.
        inlier_share: of the last frame's points, those that agree with the map.
        num_starts: maps that were begun; num_attempts: how often solutions were compared.
    """

    def __init__(self, config: Config, canvas: Canvas, worker: Worker | None = None) -> None:
        self.config, self.focal = config, canvas.focal
        self.imager = EdgeImager(canvas, config.edges)
        self.bootstrap = Bootstrap(config.bootstrap, canvas.focal)
        self.map: SparseMap | None = None
        self.view: SparseMap | None = None  # the map as it was when the last job was done
        self.worker = worker or at_once
        self.job: Callable[[], None] = lambda: None
        self.hosts: list[EdgeHost] = []  # keyframes whose edges tracking sees
        self.last: tuple[int, PointPose] | None = None
        self.bend = np.eye(4)  # from poses by points to poses by points and edges
        self.mapping, self.pose_before, self.unlinked = False, np.eye(4), list[int]()
        self.T_cam_world, self.change = np.eye(4), np.eye(4)
        self.state = TrackingState.STARTING
        self.misfits = np.zeros(0, np.int64)  # per track: frames in a row that it was far from its landmark
        self.since_keyframe = self.failures = 0
        self.inliers_at_keyframe = 0
        self.frames: list[PointFrame] = []  # all of this map's, in single precision
        self.pending_us: int | None = None  # when the events around the newest keyframe are there
        self.recent: deque[tuple[int, np.ndarray]] = deque(maxlen=_RECENT)
        self.segments: list[Segment] = []  # of maps that were lost
        self.inlier_share, self.num_starts, self.twist = 0.0, 0, np.zeros(6)
        self.num_attempts = 0

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        self.job()
        return {name: to_state(getattr(self, name)) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another odometry."""
        for name in _STATE:
            setattr(self, name, from_state(state[name], _CLASSES))

    def add(self, frame: PointFrame, events: EventWindow) -> TrackingState:
        """Track one more frame; afterwards `T_cam_world` is its pose if the state says TRACKING.

        Args:
            frame: tracked points.
            events: gives bearings (N, 2) and seconds after a time in microseconds (N,) of the events around it, within
                so many seconds on both sides.
        """
        self.frames.append(PointFrame(frame.t_us, frame.ids.astype(np.int32), frame.bearing.astype(np.float32)))
        if self.map is None:
            before = self.bootstrap.num_attempts
            start = self.bootstrap.add(frame)
            self.num_attempts += self.bootstrap.num_attempts - before
            self.state = TrackingState.STARTING
            if start is not None:
                self._begin(start)
                self.state = TrackingState.TRACKING
            return self.state
        assert self.view is not None
        pose = pose_from_points(frame, self._expected(), self.view, self.focal, self.config.pose)
        if pose is None:
            self.failures += 1
            self.state = TrackingState.LOST if self.failures > self.config.pose.max_failures else TrackingState.SPARSE
            if self.state is TrackingState.LOST:
                self._restart()
            return self.state
        self.failures, self.state = 0, TrackingState.TRACKING
        self.change = pose.T_cam_world @ np.linalg.inv(self.T_cam_world)
        self._align_last(events)
        self.last = (frame.t_us, pose)
        self.twist = self._twist([self.recent[-1], (frame.t_us, pose.T_cam_world)]) if self.recent else np.zeros(6)
        self.T_cam_world, self.inlier_share = pose.T_cam_world, pose.num_inliers / len(pose.rows)
        self.recent.append((frame.t_us, pose.T_cam_world))
        self._note_misfits(frame, pose)
        self.since_keyframe += 1
        if self.pending_us is not None and frame.t_us >= self.pending_us:
            self._map_keyframe(events)
        elif self.pending_us is None:
            is_keyframe = self._is_keyframe(frame, pose)
            if self.mapping and (is_keyframe or self.since_keyframe >= self.config.window.delay_frames):
                self._take_map()
            if is_keyframe:
                self._add_keyframe(frame, pose)
        return self.state

    @property
    def best_pose(self) -> np.ndarray:
        """T_cam_world (4, 4) of the last frame by its points, bent as edges have bent the pose of the frame before."""
        return self.bend @ self.T_cam_world

    def all_segments(self) -> list[Segment]:
        """The maps that were lost and the one at hand."""
        self.job()
        return self.segments + ([] if self.map is None else [Segment(self.map, self.frames)])

    def _expected(self) -> list[np.ndarray]:
        return [self.T_cam_world, self.change @ self.T_cam_world]

    def _begin(self, start: Start) -> None:
        """The frames of the start become keyframes, its points landmarks."""
        points, poses = self._placed(start)
        self.map, self.num_starts = SparseMap(), self.num_starts + 1
        good = start.good
        self.map.add_landmarks(points[good], start.ids[good])
        for number, (frame, T_cam_world) in enumerate(zip(start.frames, poses, strict=True)):
            row, seen = rows_of(start.ids, frame.ids)
            fits = np.zeros(len(start.ids), bool)
            mine = (start.observations.view == number) & (start.error_px < 2.5)
            fits[start.observations.point[mine]] = True
            keyframe = self.map.add_keyframe(frame, T_cam_world, seen & fits[row] & good[row])
            if frame.votes is not None:
                keyframe.image = self.imager.of_votes(frame.votes.astype(np.float32), 0)
        adjust_window(self.map, choose_window(self.map, self.config.window), self.focal, self.config.window)
        for index in range(len(self.map.keyframes)):
            sweep_keyframe(self.map, index, self.imager, self.config.link)
        self.recent.clear()
        self.last, self.bend = None, np.eye(4)
        self.unlinked = []
        self._look()
        self.T_cam_world = self.map.keyframes[-1].T_cam_world
        self._settle()

    def _restart(self) -> None:
        """Put the map away and look for a new start; it will go on from the last pose."""
        assert self.map is not None
        if self.mapping:
            self._take_map()
        self.segments.append(Segment(self.map, self.frames))
        self.bootstrap = Bootstrap(self.config.bootstrap, self.focal)
        self.map, self.view, self.failures, self.pending_us = None, None, 0, None
        self.frames, self.hosts, self.last = [], [], None

    def _placed(self, start: Start) -> tuple[np.ndarray, np.ndarray]:
        """Points (P, 3) and poses (C, 4, 4) of a start, moved and scaled into the world: its first camera stands where
        the last map was lost, and the median depth is as it was there; 1 at the very first start."""
        depth = 1.0
        if self.segments:
            last = self.segments[-1].map
            seen = last.keyframes[-1].landmark
            pose = last.keyframes[-1].T_cam_world
            depth = float(np.median((last.points[seen[seen >= 0]] @ pose[:3, :3].T + pose[:3, 3])[:, 2]))
        scale = depth / float(np.median(start.points[start.good, 2]))
        T_world_start = np.linalg.inv(self.T_cam_world)
        poses = start.T_cam_world.copy()
        poses[:, :3, 3] *= scale
        points = scale * start.points @ T_world_start[:3, :3].T + T_world_start[:3, 3]
        return points, poses @ self.T_cam_world

    def _settle(self) -> None:
        """Count from the last keyframe."""
        assert self.map is not None
        newest = self.map.keyframes[-1]
        self.inliers_at_keyframe = int((self.map.landmarks(newest.ids) >= 0).sum())
        self.since_keyframe = 0

    def _note_misfits(self, frame: PointFrame, pose: PointPose) -> None:
        """Tracks that stay away from their landmark for some frames lose it."""
        assert self.view is not None
        config, ids = self.config.pose, frame.ids[pose.rows]
        largest = int(frame.ids[-1])
        if largest >= len(self.misfits):
            self.misfits = np.concatenate([self.misfits, np.zeros(largest + 1024 - len(self.misfits), np.int64)])
        far = pose.error_px > config.misfit_px
        self.misfits[ids[far]] += 1
        self.misfits[ids[~far]] = 0
        wrong = ids[self.misfits[ids] >= config.max_misfits]
        if len(wrong):
            self.view.unlink(wrong)
            self.unlinked += wrong.tolist()
            self.misfits[wrong] = 0

    def _align_last(self, events: EventWindow) -> None:
        """Place the frame before by the map's edges, too, now that the events on both sides of it are there."""
        if self.last is None or not self.config.edge_pose.use or not self.hosts:
            return
        (t_us, pose), half_s = self.last, self.config.link.window_s / 2
        motion = [each for each in self.recent if abs(each[0] - t_us) <= 2e6 * half_s]
        if len(motion) < 2:
            return
        image = self._edge_image(pose.T_cam_world, pose.seen.points, events(t_us, half_s), self._twist(motion))
        fit = pose_from_edges(self.imager, image, self.hosts, pose.T_cam_world, pose.seen, self.config.edge_pose)
        if fit is not None:
            self.bend = fit.T_cam_world @ np.linalg.inv(pose.T_cam_world)

    def _is_keyframe(self, frame: PointFrame, pose: PointPose) -> bool:
        """After enough image motion, or when the view of the map has become thin."""
        assert self.map is not None
        config, newest = self.config.keyframe, self.map.keyframes[-1]
        if self.since_keyframe < config.min_frames:
            return False
        row, seen = newest.rows_of(frame.ids)
        moved = self.focal * np.linalg.norm(frame.bearing[seen] - newest.bearing[row[seen]], axis=1)
        far = len(moved) <= 5 or float(np.median(moved)) > config.motion_px
        return far or pose.num_inliers < config.min_share * self.inliers_at_keyframe

    def _add_keyframe(self, frame: PointFrame, pose: PointPose) -> None:
        assert self.map is not None
        inlier = np.zeros(len(frame.ids), bool)
        inlier[pose.rows] = pose.error_px < self.config.pose.inlier_px
        self.map.unlink(np.array(self.unlinked, np.int64))
        self.unlinked = []
        inlier &= self.map.landmarks(frame.ids) >= 0
        self.map.add_keyframe(frame, pose.T_cam_world, inlier)
        self.pending_us = frame.t_us + round(5e5 * self.config.link.window_s)
        self._settle()

    def _map_keyframe(self, events: EventWindow) -> None:
        """Once the events on both sides of the newest keyframe are there: extend the map, beside the tracking."""
        assert self.map is not None
        self.pending_us, self.mapping = None, True
        keyframe = self.map.keyframes[-1]
        self.pose_before = keyframe.T_cam_world
        around = events(keyframe.t_us, self.config.link.window_s / 2)
        motion = [each for each in self.recent if abs(each[0] - keyframe.t_us) <= 1e6 * self.config.link.window_s]
        self.job = self.worker(self._extend_map, around, self._twist(motion))

    def _take_map(self) -> None:
        """Go on with the map that the newest keyframe has extended; at a fixed frame, so that runs repeat exactly."""
        assert self.map is not None
        self.job()
        self.mapping = False
        self.map.unlink(np.array(self.unlinked, np.int64))
        self.unlinked = []
        self._look()
        self.T_cam_world = self.T_cam_world @ np.linalg.inv(self.pose_before) @ self.map.keyframes[-1].T_cam_world

    def _look(self) -> None:
        """What tracking sees of the map from now on."""
        assert self.map is not None
        self.view = self.map.snapshot()
        latest = [each for each in self.map.keyframes[-self.config.edge_pose.keyframes :] if each.edges is not None]
        self.hosts = [
            EdgeHost.of(each.edges, each.T_cam_world, self.imager) for each in latest if each.edges is not None
        ]

    def _extend_map(self, around: tuple[np.ndarray, np.ndarray], twist: np.ndarray) -> None:
        """The newest keyframe's edge image, new landmarks, new depth of edges, adjustment of the last keyframes."""
        assert self.map is not None
        newest = self.map.keyframes[-1]
        points = self.map.points[newest.landmark[newest.landmark >= 0]]
        newest.image = self._edge_image(newest.T_cam_world, points, around, twist)
        add_new_landmarks(self.map, self.imager.canvas, self.config.landmark)
        for index in (len(self.map.keyframes) - 1 - before for before in self.config.link.resweep):
            if index >= 0:
                sweep_keyframe(self.map, index, self.imager, self.config.link)
        window = choose_window(self.map, self.config.window)
        links = link_edges(self.map, window.views, window.is_free, self.imager, self.config.link)
        adjust_window(self.map, window, self.focal, self.config.window, links)

    def _edge_image(
        self, T_cam_world: np.ndarray, points: np.ndarray, around: tuple[np.ndarray, np.ndarray], twist: np.ndarray
    ) -> EdgeImage:
        """Events around a moment, compensated by the camera's motion and the depth of landmarks (N, 3) in view."""
        canvas = self.imager.canvas
        points = points @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]
        points = points[points[:, 2] > 1e-3]
        grid = inverse_depth_grid(canvas, canvas.pixels(points[:, :2] / points[:, 2:]), 1 / points[:, 2])
        return self.imager.with_twist(*around, twist, grid)

    @staticmethod
    def _twist(poses: list[tuple[int, np.ndarray]]) -> np.ndarray:
        """Mean twist (v, omega) in the camera frame from the first to the last of timed poses."""
        (start_us, before), (stop_us, after) = poses[0], poses[-1]
        change, seconds = after @ np.linalg.inv(before), max((stop_us - start_us) * 1e-6, 1e-6)
        turn = Rotation.from_matrix(change[:3, :3]).as_rotvec()
        return -np.concatenate([change[:3, 3], turn]) / seconds
