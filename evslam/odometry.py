"""6-DoF behind the point tracks: start, pose of every frame, and when a frame becomes a keyframe."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from evslam.atlas import Atlas
from evslam.beside import Worker, at_once
from evslam.config import Config
from evslam.frame_poses import compact, without_images
from evslam.geometry.canvas import Canvas
from evslam.geometry.rigid import inverse, scaled
from evslam.geometry.similarity import Similarity
from evslam.mapper import Around, Mapper, TimedPoses, mean_twist
from evslam.multiview.observations import PointSightings
from evslam.placing import place_by_edges
from evslam.relocaliser import Return
from evslam.segments import Segment, placed_start
from evslam.starting import Starting
from evslam.state import from_state, to_state
from evslam.tracking.bootstrap import Start
from evslam.tracking.gyro import Gyro
from evslam.tracking.horizon import horizon_of
from evslam.tracking.misfits import Misfits
from evslam.tracking.movers import Movers
from evslam.tracking.point_pose import PointPose, leaves_keyframe, pose_from_points
from evslam.types import PointFrame, TrackingState

EventWindow = Callable[[int, float], tuple[np.ndarray, np.ndarray]]
SceneWindow = Callable[[int, float], Around]
_KEPT = 200  # frames with events before a start
_RECENT = 16  # poses from which the motion around a moment is told
_LATE = 2  # frames before edges tell that a pose is wrong
_STATE = (
    *("is_started", "T_cam_world", "change", "misfits", "since_keyframe", "failures", "doubts", "origin"),
    *("inliers_at_keyframe", "frames", "pending_us", "recent", "inlier_share", "num_starts", "twist"),
    *("last", "bend"),
)
_PARTS = ("mapper", "atlas", "starting", "movers")
_CLASSES = (Misfits, PointSightings, PointPose, PointFrame)


class Odometry:
    """Poses of point frames, from nothing.

    Args:
        config: resolved configuration.
        canvas: image plane.
        worker: does the mapping, perhaps in a thread of its own; None for at once. The result is the same.
        gyro: tells turns from frame to frame, and learns its bias; None does without.

    Attributes:
        mapper: the map; atlas: the maps that were lost or given.
        is_started: there is a map to track against.
        T_cam_world: (4, 4) float64 of the last frame, by its points.
        bend: (4, 4) from poses by points to poses by points and edges, as of the frame before.
        twist: (6,) (v, omega) in the camera frame, between the last two frames.
        inlier_share: of the last frame's points, those that agree with the map.
        num_starts: maps that were begun.
        starting: looks for starts.
    """

    def __init__(self, config: Config, canvas: Canvas, worker: Worker = at_once, gyro: Gyro | None = None) -> None:
        self.config, self.focal, self.gyro = config, canvas.focal, gyro
        self.mapper = Mapper(config, canvas, worker)
        self.starting, self.is_started = Starting(config.bootstrap, canvas.focal, gyro), False
        self.T_cam_world, self.change, self.bend = np.eye(4), np.eye(4), np.eye(4)
        self.twist, self.inlier_share = np.zeros(6), 0.0
        self.atlas = Atlas(config, self.mapper.imager, worker)
        self.num_starts = self.since_keyframe = self.failures = self.doubts = self.inliers_at_keyframe = 0
        self.misfits = Misfits()
        self.movers = Movers(config.movers, config.bootstrap, canvas)
        self.frames: list[PointFrame] = []  # all of this map's, in single precision
        self.last: tuple[int, PointPose] | None = None  # time and pose of the frame before
        self.recent: deque[tuple[int, np.ndarray]] = deque(maxlen=_RECENT)
        self.origin = np.eye(4)  # pose of the first camera of the map
        self.pending_us: int | None = None  # when the events around the newest keyframe are there

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        parts = {name: getattr(self, name).state_dict() for name in _PARTS}
        return parts | {name: to_state(getattr(self, name)) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another odometry."""
        for name in _STATE:
            setattr(self, name, from_state(state[name], _CLASSES))
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])

    def add(self, frame: PointFrame, events: EventWindow) -> TrackingState:
        """Track one more frame; afterwards `best_pose` is its pose if the state says TRACKING.

        Args:
            frame: tracked points.
            events: gives bearings (N, 2) and seconds after a time in microseconds (N,) of the events around it, within
                so many seconds on both sides.
        """
        frame = self.movers.take(frame)
        self._keep(frame)
        if frame.is_resting:
            return TrackingState.SPARSE if self.is_started else TrackingState.STARTING
        self._heed_movers(frame.t_us)
        found = self.atlas.relocaliser.add(frame, in_need=not self.is_started)
        if found is not None and self._resume(frame, found):
            return TrackingState.TRACKING
        if not self.is_started:
            start = self.starting.look(frame)
            if start is None:
                return TrackingState.STARTING
            self._begin(start)
            return TrackingState.TRACKING
        around, turned = self._of_scene(events), self._turned(frame.t_us)
        expected = [*turned, self.T_cam_world, self.change @ self.T_cam_world]
        horizon = horizon_of(turned[0], self.config.gyro.turn_weight) if turned else None
        pose = pose_from_points(frame, expected, self.mapper.view, self.focal, self.config.pose, horizon)
        if pose is None:
            self.failures += 1
            return self._lose() if self.failures > self.config.pose.max_failures else TrackingState.SPARSE
        is_doubtful = self._align_last(around) or pose.num_inliers < self.config.pose.doubt_share * len(pose.rows)
        self.doubts = self.doubts + 1 if is_doubtful else 0
        if self.doubts > self.config.pose.max_doubts:
            return self._lose()
        self._move(frame, pose)
        refuting = self.starting.refuting(frame)
        if refuting is not None:
            self._begin(refuting)
        else:
            self._map(frame, pose, around, may_be_keyframe=not is_doubtful)
        return TrackingState.SPARSE if is_doubtful else TrackingState.TRACKING

    def _of_scene(self, events: EventWindow) -> SceneWindow:
        """Events around a moment, and where something that moves hides the scene."""
        return lambda t_us, half_s: Around(*events(t_us, half_s), self.movers.hidden(t_us))

    def _heed_movers(self, t_us: int) -> None:
        """Look for objects that move. A map that follows one is given up; so are those that began shortly before the
        first one was found; a start is looked for anew without it."""
        found = self.movers.look(is_tracked=self.is_started)
        if found is None:
            return
        young_us, is_wrong = t_us - round(1e6 * self.config.movers.young_s), found.follows
        if found.is_first:
            is_wrong |= self.is_started and self.mapper.map.keyframes[0].t_us > young_us
            self.frames = self.movers.cleared(self.atlas.give_up(young_us) + self.frames)
        if is_wrong if self.is_started else found.is_new:
            self.mapper.wait()
            self.is_started = False
            self.starting.anew(self.movers.history())

    def _keep(self, frame: PointFrame) -> None:
        """For the final poses, in single precision; until a start is settled, every few with events, to go back."""
        wanted = not self._is_settled(frame.t_us) and len(self.frames) % self.config.keyframe.min_frames == 0
        last = self.frames[-1] if self.frames else None
        self.frames.append(compact(frame if wanted else without_images(frame), last))
        old = len(self.frames) - 1 - _KEPT * self.config.keyframe.min_frames
        if wanted and old >= 0:
            self.frames[old] = without_images(self.frames[old])

    def _is_settled(self, t_us: int) -> bool:
        """There is a map whose start is not in doubt any more at a time."""
        return self.is_started and t_us > self.starting.verify_until_us

    @property
    def is_unsure(self) -> bool:
        """There is no map, or a young one, or something moves: points all over the image are worth more than strong
        ones."""
        return not self.is_started or self.movers.is_young or self.movers.tracks.any

    @property
    def best_pose(self) -> np.ndarray:
        """T_cam_world (4, 4) of the last frame by its points, bent as edges have bent the pose of the frame before."""
        return self.bend @ self.T_cam_world

    @property
    def is_elsewhere(self) -> bool:
        """There is a map that was given, and the camera is tracked in another one."""
        return self.is_started and self.atlas.has_given and not self.mapper.map.num_given

    @property
    def waiting_for(self) -> str | None:
        """Why the camera is not tracked where it should be, in words for the user."""
        if self.atlas.has_given:
            return "the camera has not been found in the given map"
        return None if self.is_started else self.starting.bootstrap.reason

    def covariance(self, t_us: int) -> np.ndarray:
        """(6, 6) of the pose at a frame's time, see `TrackResult.covariance`; NaN if points did not place that frame.

        It is that of the pose by points. That by points and edges would be four times as sure as it is right: the edges
        of neighbouring keyframes are the same.
        """
        if self.last is None or self.last[0] != t_us:
            return np.full((6, 6), np.nan)
        return self.last[1].covariance

    def all_segments(self) -> list[Segment]:
        """The maps that were lost or given and the one at hand."""
        self.mapper.wait()
        return self.atlas.segments + ([Segment(self.mapper.map, self.frames)] if self.is_started else [])

    @property
    def num_frames(self) -> int:
        """Frames since the beginning, with a pose or without."""
        others = sum(len(each.frames) + len(each.map.anchored) for each in self.atlas.segments)
        return len(self.frames) + len(self.mapper.map.anchored) * self.is_started + others

    def _begin(self, start: Start) -> None:
        """A new map, and go on from the last frame of the start."""
        points, poses = placed_start(start, self.origin, self.atlas.segments)
        self.mapper.begin(start, points, poses)
        self.num_starts += 1
        self._forget_motion()
        self.starting.begin(start, poses)
        self.movers.begin(start.frames[-1].t_us)
        self.T_cam_world = self.mapper.map.keyframes[-1].T_cam_world
        self._count_from_keyframe()

    def _forget_motion(self) -> None:
        """Tracking begins at a new place, in a map that the mapper has."""
        self.is_started, self.failures, self.doubts, self.pending_us, self.last = True, 0, 0, None, None
        self.bend, self.change = np.eye(4), np.eye(4)
        self.recent.clear()
        self.movers.forget_poses()

    def _resume(self, frame: PointFrame, found: Return) -> bool:
        """Go on in a map that had been lost or given; the one at hand, if any, joins it. False if it cannot."""
        here = None
        if self.is_started:
            self.mapper.wait()
            map_ = self.mapper.map
            here = map_, pose_from_points(frame, [self.T_cam_world], map_, self.focal, self.config.pose)
        segment = self.atlas.take_out(found, here)
        if segment is None:
            return False
        self.frames = segment.frames + self.frames
        self.starting.settle()
        self._forget_motion()
        self.T_cam_world = found.pose.T_cam_world
        self.mapper.adopt(segment.map)
        self._move(frame, found.pose)
        self._add_keyframe(frame, found.pose)
        return True

    def _lose(self) -> TrackingState:
        """Put the map away, look for the camera in it, and for a new start to go on from the last pose."""
        self.mapper.wait()
        self.atlas.put_away(self.mapper.map, self.frames, self.doubts + self.failures + _LATE)
        self.starting.anew()
        self.origin, self.is_started, self.frames = self.T_cam_world, False, []
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
        self.starting.follow(frame.t_us, pose.T_cam_world)
        self.movers.place(frame.t_us, pose.T_cam_world)
        self.last = (frame.t_us, pose)
        limits = self.config.pose
        wrong = self.misfits.note(frame.ids[pose.rows], pose.error_px > limits.misfit_px, limits.max_misfits)
        if len(wrong):
            self.mapper.unlink(wrong)

    def _align_last(self, around: SceneWindow) -> bool:
        """Place the frame before by the map's edges, too, now that the events on both sides of it are there.

        Returns:
            True if they make its pose doubtful.
        """
        mapper, config = self.mapper, self.config
        if self.last is None or config.edge_pose.objective == "none" or not mapper.hosts:
            return False
        (t_us, pose), half_s = self.last, config.link.window_s / 2
        motion = self._around(t_us)
        if len(motion) < 2:
            return False
        image = mapper.edge_image(pose.T_cam_world, pose.seen.points, around(t_us, half_s), mean_twist(motion))
        found = place_by_edges(mapper.imager, image, mapper.hosts, pose, config)
        if found.T_cam_world is not None and not found.is_doubtful:
            self.bend = found.T_cam_world @ inverse(pose.T_cam_world)
        return found.is_doubtful

    def _around(self, t_us: int) -> TimedPoses:
        """Recent poses around a moment."""
        return [each for each in self.recent if abs(each[0] - t_us) <= 1e6 * self.config.link.window_s]

    def _map(self, frame: PointFrame, pose: PointPose, around: SceneWindow, *, may_be_keyframe: bool) -> None:
        """Keyframes: made when due, worked on when the events on both sides are there, taken at a fixed frame after, so
        that runs repeat exactly."""
        mapper = self.mapper
        self.since_keyframe += 1
        if self.pending_us is not None and frame.t_us >= self.pending_us:
            self.pending_us, t_us = None, mapper.map.keyframes[-1].t_us
            mapper.extend(
                around(t_us, self.config.link.window_s / 2), mean_twist(self._around(t_us)), list(self.frames)
            )
        elif self.pending_us is None:
            is_keyframe = may_be_keyframe and self._is_keyframe(frame, pose)
            if mapper.is_busy and (is_keyframe or self.since_keyframe >= self.config.window.delay_frames):
                pose = self._follow(pose, *mapper.take())
            if is_keyframe:
                self._add_keyframe(frame, pose)

    def _follow(self, pose: PointPose, change: np.ndarray, moved: Similarity | None) -> PointPose:
        """The last pose goes with the map, and where a loop was closed, all that tracking goes on from; returns `pose`,
        that of the last frame, too."""
        self.T_cam_world = self.T_cam_world @ change
        settled = set(self.mapper.settled_us.tolist())
        if settled:
            self.frames = [each for each in self.frames if each.t_us not in settled]
        if moved is None:
            return pose
        self.T_cam_world, scale = moved.carry(self.T_cam_world), float(moved.scale[0])
        self.recent = deque(((t_us, moved.carry(pose)) for t_us, pose in self.recent), _RECENT)
        self.change, self.bend = scaled(self.change, scale), scaled(self.bend, scale)
        self.twist = np.repeat((scale, 1.0), 3) * self.twist
        self.last = self.recent[-1][0], pose.moved(moved)
        self.starting.settle()
        self.movers.forget_poses()
        return self.last[1]

    def _add_keyframe(self, frame: PointFrame, pose: PointPose) -> None:
        is_inlier = pose.is_inlier(len(frame.ids), self.config.pose.inlier_px)
        self.mapper.add_keyframe(frame, pose.T_cam_world, is_inlier)
        self.pending_us = frame.t_us + round(5e5 * self.config.link.window_s)
        self._count_from_keyframe()

    def _is_keyframe(self, frame: PointFrame, pose: PointPose) -> bool:
        config, newest = self.config.keyframe, self.mapper.map.keyframes[-1]
        if self.since_keyframe < config.min_frames:
            return False
        return leaves_keyframe(frame, pose, newest, self.inliers_at_keyframe, self.focal, config)

    def _count_from_keyframe(self) -> None:
        self.inliers_at_keyframe, self.since_keyframe = self.mapper.map.num_seen(), 0
