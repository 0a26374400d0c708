"""Tracks on objects that move: found, remembered, and kept from what follows the camera."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evslam.geometry.canvas import Canvas
from evslam.settings_tracking import BootstrapConfig, MoversConfig
from evslam.state import from_state, to_state
from evslam.tracking.moving_tracks import MovingTracks
from evslam.tracking.start import Sightings, evenly
from evslam.tracking.two_bodies import BodySearch, MovingBody, track_errors
from evslam.types import PointFrame

_GREY = 128  # of a signed image where nothing happens
_NUM_VIEWS, _MIN_VIEWS = 8, 5  # frames that tell how a track moves
_MIN_MOVING = 5  # tracks that tell whether an object moves
_WHOLE = 0.9  # of a window that frames must span
_NEW = 0.3  # share of an object's tracks that were not known to move, for a start to be looked for anew
_SELDOM = 5  # looks from one to the next that asks whether a map that is not young follows an object
_SURE_AFTER = 2  # looks in a row that say so, before it is taken to
_STATE = ("tracks", "frames", "poses", "now_us", "next_us", "begun_us", "resting_us", "num_looks", "accused")


@dataclass(frozen=True)
class Discovery:
    """What is new about moving objects.

    Attributes:
        follows: the camera was taken to move as it does against the object.
        is_first: nothing was known to move before.
        is_new: much of what moves was not known to.
    """

    follows: bool
    is_first: bool
    is_new: bool


class Movers:
    """Knows which tracks are on moving objects.

    Args:
        config: limits.
        start: how motions are found.
        canvas: image plane.

    Attributes:
        tracks: that are on moving objects.
        frames: of the last moments, with all tracks.
        poses: T_cam_world (4, 4) of some of them, by time.
    """

    def __init__(self, config: MoversConfig, start: BootstrapConfig, canvas: Canvas) -> None:
        self.config, self.canvas = config, canvas
        self.search = BodySearch(canvas.focal, start, config)
        self.tracks = MovingTracks()
        self.frames: deque[PointFrame] = deque()
        self.poses: dict[int, np.ndarray] = {}
        self.now_us = self.next_us = self.begun_us = 0
        self.resting_us: int | None = None  # since when nothing that is known to move seems to
        self.num_looks = self.accused = 0  # looks in all, and those in a row by which the camera follows an object

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {name: to_state(getattr(self, name)) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another one."""
        for name in _STATE:
            setattr(self, name, from_state(state[name], (PointFrame, MovingTracks)))

    def take(self, frame: PointFrame) -> PointFrame:
        """One more frame; returned without what moves."""
        self.now_us = frame.t_us
        if not self.config.use or frame.is_resting:
            return self.without(frame)
        horizon_us = frame.t_us - 1e6 * self.config.memory_s
        while self.frames and self.frames[0].t_us < horizon_us:
            self.poses.pop(self.frames.popleft().t_us, None)
        self.tracks.follow(frame, self.frames, self.canvas, self.config)
        self.frames.append(PointFrame(frame.t_us, frame.ids, frame.bearing))
        return self.without(frame)

    def without(self, frame: PointFrame) -> PointFrame:
        """A frame without the tracks that move; its images tell where these hide the scene."""
        if not self.tracks.any:
            return frame
        hidden, signed = None, frame.signed
        if frame.votes is not None:
            hidden = self.tracks.region(frame, self.canvas, self.config.radius_px)
            signed = None if signed is None else np.where(hidden, _GREY, signed).astype(signed.dtype)
        return replace(frame.only(~self.tracks.are_moving(frame.ids)), signed=signed, hidden=hidden)

    def cleared(self, frames: list[PointFrame]) -> list[PointFrame]:
        """Frames of the time up to now without what moves, which is followed back from the last one."""
        back = Movers(self.config, self.search.start, self.canvas)
        back.tracks = self.tracks.copy()
        found = [back.take(replace(frame, t_us=-frame.t_us)) for frame in frames[::-1]]
        return [replace(frame, t_us=-frame.t_us) for frame in found[::-1]]

    def history(self) -> list[PointFrame]:
        """The last frames, without what moves."""
        return [self.without(frame) for frame in self.frames]

    def hidden(self, t_us: int) -> np.ndarray | None:
        """(H, W) bool, where something that moves hid the scene about a time; None if nothing did."""
        if not self.tracks.any:
            return None
        nearest = min(self.frames, key=lambda frame: abs(frame.t_us - t_us))
        return self.tracks.region(nearest, self.canvas, self.config.radius_px)

    @property
    def is_young(self) -> bool:
        """The map may follow an object, for all that is known yet."""
        return self.now_us <= self.begun_us + 1e6 * self.config.young_s

    def begin(self, t_us: int) -> None:
        """A map begins in which the camera is tracked."""
        self.begun_us = t_us

    def forget_poses(self) -> None:
        """Poses are told in another world from now on."""
        self.poses.clear()

    def place(self, t_us: int, T_cam_world: np.ndarray) -> None:
        """The camera was there (4, 4) at a time."""
        if self.config.use:
            self.poses[t_us] = T_cam_world

    def look(self, *, is_tracked: bool) -> Discovery | None:
        """Look for objects that move, now and then; whether those that are known still do is seen by the poses.

        Args:
            is_tracked: there is a map in which the camera is tracked.
        """
        if not self.frames or self.now_us < self.next_us:
            return None
        self.next_us = self.now_us + round(1e6 * self.config.interval_s)
        self.num_looks += 1
        if self._review():
            return None
        is_sure = is_tracked and not self.is_young
        body = self._find(is_tracked=is_tracked, is_sure=is_sure)
        if body is not None and self.tracks.are_moving(body.still).sum() > self.tracks.are_moving(body.ids).sum():
            body = None  # seen from the object, which is known to move, the scene does
        self.accused = self.accused + 1 if body is not None and body.follows else 0
        if body is None or (is_sure and 0 < self.accused < _SURE_AFTER):
            return None
        known = self.tracks.are_moving(body.ids).mean()
        discovery = Discovery(body.follows, not self.tracks.any, bool(1 - known > _NEW))
        self.tracks.learn(body.ids, body.still)
        return discovery

    def _find(self, *, is_tracked: bool, is_sure: bool) -> MovingBody | None:
        """An object that moves, in the longest stretch of the last moments that tells one."""
        is_thorough = bool(self.accused) or self.num_looks % _SELDOM == 0
        for window_s in self.config.windows_s:
            frames = [frame for frame in self.frames if not is_tracked or frame.t_us in self.poses]
            frames = [frame for frame in frames if frame.t_us >= frames[-1].t_us - 1e6 * window_s]
            if not frames or frames[-1].t_us - frames[0].t_us < _WHOLE * 1e6 * window_s:
                continue
            frames = evenly(frames, np.arange(len(frames)), _NUM_VIEWS)
            poses = np.stack([self.poses[frame.t_us] for frame in frames]) if is_tracked else None
            body = self.search.find(frames, poses, is_sure=is_sure, is_thorough=is_thorough)
            if body is not None:
                return body
        return None

    def _review(self) -> bool:
        """By the camera's poses: tracks that stood still all the time are released, tracks beside one that moves are
        added if they move, too; all are released if none has moved for long. False if the poses cannot tell."""
        config, now_us = self.config, self.now_us
        placed = [frame for frame in self.frames if frame.t_us in self.poses]
        if not self.tracks.any or not placed or placed[-1].t_us - placed[0].t_us < 0.5e6 * config.memory_s:
            return False
        sightings, error = self._errors(placed)
        known = self.tracks.are_moving(sightings.ids)
        if known.sum() < _MIN_MOVING or known.all() or np.median(error[~known]) > config.still_px:
            return False
        if np.median(error[known]) < config.moving_px:
            self._rest(now_us, float(np.median(error[known])))
            return False
        self.resting_us = None
        whole = np.bincount(sightings.observations.point) == _NUM_VIEWS
        moving = [sightings.ids[error > config.moving_px]]
        still = sightings.ids[whole & (error < config.still_px)]
        latest = [frame for frame in placed if frame.t_us > now_us - 1e6 * config.memory_s / 3]
        if len(latest) >= _MIN_VIEWS:
            sightings, error = self._errors(latest)
            moving.append(sightings.ids[error > config.moving_px])
        beside = self.tracks.beside(self.frames[-1], self.canvas, config.radius_px)
        self.tracks.learn(np.intersect1d(np.concatenate(moving), beside), still)
        return True

    def _rest(self, now_us: int, error_px: float) -> None:
        """What is known to move has an error by the poses that does not show it."""
        if error_px > self.config.still_px:
            self.resting_us = None
        elif self.resting_us is None:
            self.resting_us = now_us
        elif now_us > self.resting_us + 1e6 * self.config.rest_s:
            self.tracks, self.resting_us = MovingTracks(), None

    def _errors(self, placed: list[PointFrame]) -> tuple[Sightings, np.ndarray]:
        """Tracks seen for most of some frames with poses, and how far (P,) in pixels they are from the best points."""
        frames = evenly(placed, np.arange(len(placed)), _NUM_VIEWS)
        sightings = Sightings.of(frames, min(_MIN_VIEWS, len(frames)), 0.0)
        poses = np.stack([self.poses[frame.t_us] for frame in frames])
        return sightings, track_errors(poses, sightings, self.canvas.focal)
