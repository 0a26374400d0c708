"""When a frame becomes a keyframe, and when the map is worked on for it."""

from __future__ import annotations

from typing import Any

from evslam.config import Config
from evslam.mapper import Mapper, SceneWindow
from evslam.tracking.point_pose import PointPose, leaves_keyframe
from evslam.tracking.recent_motion import RecentMotion, mean_twist
from evslam.types import PointFrame

_STATE = ("num_frames", "num_seen", "pending_us")


class Keyframing:
    """Makes keyframes when they are due.

    They are worked on when the events on both sides are there, and the work is taken at a fixed frame after, so that
    runs repeat exactly.

    Args:
        config: resolved configuration.
        mapper: whose map the keyframes are for.

    Attributes:
        num_frames: since the newest keyframe.
        num_seen: tracks with a landmark in the newest keyframe, when it was made.
        pending_us: when the events around the newest keyframe are there; None if the work on it has begun.
    """

    def __init__(self, config: Config, mapper: Mapper) -> None:
        self.config, self.mapper = config, mapper
        self.num_frames = self.num_seen = 0
        self.pending_us: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another one."""
        for name in _STATE:
            setattr(self, name, state[name])

    def begin(self) -> None:
        """The mapper has another map, on whose newest keyframe there is no work to do."""
        self.pending_us = None
        self._count_anew()

    def count(self) -> None:
        """One more frame was tracked."""
        self.num_frames += 1

    def add(self, frame: PointFrame, pose: PointPose) -> None:
        """A frame becomes a keyframe."""
        is_inlier = pose.is_inlier(len(frame.ids), self.config.pose.inlier_px)
        self.mapper.add_keyframe(frame, pose.T_cam_world, is_inlier)
        self.pending_us = frame.t_us + round(5e5 * self.config.link.window_s)
        self._count_anew()

    def is_due(self, frame: PointFrame, pose: PointPose) -> bool:
        """Whether a frame with its pose should become a keyframe."""
        config, newest = self.config.keyframe, self.mapper.map.keyframes[-1]
        if self.num_frames < config.min_frames:
            return False
        return leaves_keyframe(frame, pose, newest, self.num_seen, self.mapper.imager.canvas.focal, config)

    def work(self, around: SceneWindow, motion: RecentMotion) -> None:
        """Have the newest keyframe worked on.

        Args:
            around: gives events.
            motion: of the camera.
        """
        self.pending_us, t_us, window_s = None, self.mapper.map.keyframes[-1].t_us, self.config.link.window_s
        self.mapper.extend(around(t_us, window_s / 2), mean_twist(motion.around(t_us, window_s)))

    def must_take(self, *, is_due: bool) -> bool:
        """Whether work that was begun is to be taken now: another keyframe is due, or the time for it is up."""
        return self.mapper.is_busy and (is_due or self.num_frames >= self.config.window.delay_frames)

    def _count_anew(self) -> None:
        self.num_frames, self.num_seen = 0, self.mapper.map.num_seen()
