"""6-DoF behind the point tracks: start, pose of every frame, loss and return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from evslam.atlas import Atlas
from evslam.beside import Worker, at_once
from evslam.config import Config
from evslam.frame_poses import compact, without_images
from evslam.geometry.canvas import Canvas
from evslam.geometry.similarity import Similarity
from evslam.keyframing import Keyframing
from evslam.mapper import Around, Mapper, SceneWindow
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
from evslam.tracking.point_pose import PointPose, pose_from_points
from evslam.tracking.recent_motion import RecentMotion, mean_twist
from evslam.types import PointFrame, TrackingState

EventWindow = Callable[[int, float], tuple[np.ndarray, np.ndarray]]
_KEPT = 200  # frames with events before a start
_LATE = 2  # frames before edges tell that a pose is wrong
_STATE = ("is_started", "misfits", "failures", "doubts", "origin", "frames", "inlier_share", "num_starts")
_PARTS = ("mapper", "motion", "keyframing", "atlas", "starting", "movers")
_CLASSES = (Misfits, PointFrame)


class Odometry:
    """Poses of point frames, from nothing.

    Args:
        config: resolved configuration.
        canvas: image plane.
        worker: does the mapping, perhaps in a thread of its own. The result is the same.
        gyro: tells turns from frame to frame, and learns its bias; None does without.

    Attributes:
        mapper: the map; atlas: the maps that were lost or given.
        starting: looks for starts; movers: knows what moves.
        motion: of the camera in the last frames; keyframing: makes keyframes of some.
        is_started: there is a map to track against.
        frames: all of this map's, in single precision.
        origin: (4, 4) T_cam_world of the first camera of the map.
        inlier_share: of the last frame's points, those that agree with the map.
        misfits: tracks that left their landmarks.
        num_starts: maps that were begun.
        failures, doubts: frames in a row that could not be placed, and whose pose is in doubt.
    """

    def __init__(self, config: Config, canvas: Canvas, worker: Worker = at_once, gyro: Gyro | None = None) -> None:
        self.config, self.focal = config, canvas.focal
        self.mapper = Mapper(config, canvas, worker)
        self.motion, self.keyframing = RecentMotion(gyro), Keyframing(config, self.mapper)
        self.atlas = Atlas(config, self.mapper.imager, worker)
        self.starting = Starting(config.bootstrap, canvas.focal, gyro)
        self.movers = Movers(config.movers, config.bootstrap, canvas)
        self.misfits = Misfits()
        self.frames: list[PointFrame] = []
        self.is_started, self.origin, self.inlier_share = False, np.eye(4), 0.0
        self.num_starts = self.failures = self.doubts = 0

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
        """Track one more frame; afterwards `motion.best_pose` is its pose if the state says TRACKING.

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
        around, pose = self._of_scene(events), self._place(frame)
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
        """Look for objects that move. A map that follows one is given up; so are those before the first one was found
        that were never old enough to be sure; a start is looked for anew without it."""
        found = self.movers.look(is_tracked=self.is_started)
        if found is None:
            return
        young_us, is_wrong = round(1e6 * self.config.movers.young_s), found.follows
        if found.is_first:
            is_wrong |= self.is_started and self.mapper.map.keyframes[0].t_us > t_us - young_us
            self.frames = self.movers.cleared(self.atlas.give_up(t_us - young_us, young_us) + self.frames)
        if is_wrong if self.is_started else found.is_new:
            self._wait()
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
    def is_elsewhere(self) -> bool:
        """There is a map that was given, and the camera is tracked in another one."""
        return self.is_started and self.atlas.has_given and not self.mapper.map.num_given

    @property
    def waiting_for(self) -> str | None:
        """Why the camera is not tracked where it should be, in words for the user."""
        if self.atlas.has_given:
            return "the camera has not been found in the given map"
        return None if self.is_started else self.starting.bootstrap.reason

    def all_segments(self) -> list[Segment]:
        """The maps that were lost or given and the one at hand."""
        self._wait()
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
        self._enter(self.mapper.map.keyframes[-1].T_cam_world)
        self.starting.begin(start, poses)
        self.movers.begin(start.frames[-1].t_us)
        self.keyframing.begin()

    def _enter(self, T_cam_world: np.ndarray) -> None:
        """Tracking begins at a new place (4, 4), in a map that the mapper has."""
        self.is_started, self.failures, self.doubts = True, 0, 0
        self.motion.begin(T_cam_world)
        self.movers.forget_poses()

    def _resume(self, frame: PointFrame, found: Return) -> bool:
        """Go on in a map that had been lost or given; the one at hand, if any, joins it. False if it cannot."""
        here = None
        if self.is_started:
            self._wait()
            map_ = self.mapper.map
            here = map_, pose_from_points(frame, [self.motion.T_cam_world], map_, self.focal, self.config.pose)
        segment = self.atlas.take_out(found, here)
        if segment is None:
            return False
        self.frames = segment.frames + self.frames
        self.starting.settle()
        self.mapper.adopt(segment.map)
        self._enter(found.pose.T_cam_world)
        self._move(frame, found.pose)
        self.keyframing.add(frame, found.pose)
        return True

    def _lose(self) -> TrackingState:
        """Put the map away, look for the camera in it, and for a new start to go on from the last pose. A map whose
        start was still in doubt is given up: it is likely to be wrong, and nothing should be placed by it."""
        self._wait()
        if self._is_settled(self.frames[-1].t_us):
            self.atlas.put_away(self.mapper.map, self.frames, self.doubts + self.failures + _LATE)
            self.origin, self.frames = self.motion.T_cam_world, []
        self.starting.anew()
        self.is_started = False
        return TrackingState.LOST

    def _place(self, frame: PointFrame) -> PointPose | None:
        """A frame's pose by its points, from where it is expected."""
        turned, config = self.motion.turned(frame.t_us), self.config
        expected, horizon = self.motion.expected(), None
        if turned is not None:
            expected, horizon = [turned, *expected], horizon_of(turned, config.gyro.turn_weight)
        return pose_from_points(frame, expected, self.mapper.view, self.focal, config.pose, horizon)

    def _move(self, frame: PointFrame, pose: PointPose) -> None:
        """The frame's pose becomes the last one."""
        self.failures, self.inlier_share = 0, pose.num_inliers / len(pose.rows)
        self.motion.move(frame.t_us, pose)
        self.starting.follow(frame.t_us, pose.T_cam_world)
        self.movers.place(frame.t_us, pose.T_cam_world)
        limits = self.config.pose
        wrong = self.misfits.note(frame.ids[pose.rows], pose.error_px > limits.misfit_px, limits.max_misfits)
        if len(wrong):
            self.mapper.unlink(wrong)

    def _align_last(self, around: SceneWindow) -> bool:
        """Place the frame before by the map's edges, too, now that the events on both sides of it are there.

        Returns:
            True if they make its pose doubtful.
        """
        mapper, config, last = self.mapper, self.config, self.motion.last
        if last is None or config.edge_pose.objective == "none" or not mapper.hosts:
            return False
        (t_us, pose), window_s = last, config.link.window_s
        moments = self.motion.around(t_us, window_s)
        if len(moments) < 2:
            return False
        image = mapper.edge_image(pose.T_cam_world, pose.seen.points, around(t_us, window_s / 2), mean_twist(moments))
        found = place_by_edges(mapper.imager, image, mapper.hosts, pose, config)
        if found.T_cam_world is not None and not found.is_doubtful:
            self.motion.bend_to(found.T_cam_world, pose.T_cam_world)
        return found.is_doubtful

    def _map(self, frame: PointFrame, pose: PointPose, around: SceneWindow, *, may_be_keyframe: bool) -> None:
        """Make a keyframe if one is due; begin the work on it, or take it, when the time for that has come."""
        keyframing = self.keyframing
        keyframing.count()
        if keyframing.pending_us is not None:
            if frame.t_us >= keyframing.pending_us:
                keyframing.work(around, self.motion)
            return
        is_due = may_be_keyframe and keyframing.is_due(frame, pose)
        if keyframing.must_take(is_due=is_due):
            pose = self._follow(pose, *self.mapper.take(list(self.frames)))
        if is_due:
            keyframing.add(frame, pose)

    def _follow(self, pose: PointPose, change: np.ndarray, moved: Similarity | None, settled: np.ndarray) -> PointPose:
        """The last pose goes with the map, and where a loop was closed, all that tracking goes on from; returns `pose`,
        that of the last frame, too."""
        self.motion.follow(change)
        self._drop(settled)
        if moved is None:
            return pose
        self.starting.settle()
        self.movers.forget_poses()
        return self.motion.carry(pose, moved)

    def _wait(self) -> None:
        self.mapper.wait()
        self._drop(self.mapper.settled_us)

    def _drop(self, settled_us: np.ndarray) -> None:
        """Frames of these times have their final pose, and are not needed any more."""
        settled = set(settled_us.tolist())
        self.frames = [each for each in self.frames if each.t_us not in settled] if settled else self.frames
