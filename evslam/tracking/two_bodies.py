"""A moving object told from the scene: two rigid motions explain a second of tracks far better than one.

Over a second, the own parallax of a scene is a few pixels: up to these, it turns as one, all over the image. What does
not turn with it is near, or moves. If it is near, the motion that the rest of the scene tells explains it, too. If it
moves, that motion does not, though a motion of its own does; and the motion that explains both at once explains the
scene worse than the scene's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evslam.multiview.bundle import BundleProblem, BundleSettings, adjust
from evslam.multiview.triangulation import triangulate
from evslam.multiview.two_view import two_view_hypotheses
from evslam.settings_tracking import BootstrapConfig, MoversConfig
from evslam.tracking.hulls import core_of, num_cells, within_hull
from evslam.tracking.start import Candidate, Sightings, refine
from evslam.tracking.turning import turning_together
from evslam.types import PointFrame

_POLISH = BundleSettings(scale_px=1.0, max_iterations=6, tolerance=1e-5)
_BEHIND_PX = 50.0  # error of a track whose rays meet behind a camera
_LARGE = 2.0  # times as much contrast must an object show that is large: less is left to tell the scene's motion
_EXPLAINED = 0.5  # cost of tracks that poses explain
_FOLLOWS = 0.5  # cost of an object's tracks under the camera's poses over that under the scene's motion


@dataclass(frozen=True)
class MovingBody:
    """An object that moves against the scene.

    Attributes:
        ids: (M,) int64 of its tracks.
        still: (S,) of tracks that the scene's motion explains.
        follows: the poses that were taken for the camera's are those against the object.
    """

    ids: np.ndarray
    still: np.ndarray
    follows: bool


@dataclass(frozen=True)
class _Part:
    """Tracks that may be an object's.

    Attributes:
        tracks: (P,) bool, of those at hand.
        contrast: cost of its tracks under the scene's motion over that under their own that makes it one.
    """

    tracks: np.ndarray
    contrast: float


@dataclass(frozen=True)
class BodySearch:
    """Looks for an object that moves.

    Attributes:
        focal: pixels per unit of bearing.
        start: how motions are found.
        config: what makes an object.
    """

    focal: float
    start: BootstrapConfig
    config: MoversConfig

    def find(
        self, frames: list[PointFrame], T_cam_world: np.ndarray | None, *, is_sure: bool, is_thorough: bool = True
    ) -> MovingBody | None:
        """The object that moves, if two motions explain the tracks far better than one.

        Args:
            frames: C >= 2, in the order of time.
            T_cam_world: (C, 4, 4) of the frames as they are taken to be; None where they are not known.
            is_sure: these poses are taken for the camera's: an object that they do not tell counts only if they turn
                out to be those against it ...
            is_thorough: ... and is looked for only then, which takes ten times as long.
        """
        first, last = frames[0], frames[-1]
        ids, here, there = np.intersect1d(first.ids, last.ids, assume_unique=True, return_indices=True)
        if len(ids) < 2 * self.config.min_tracks:
            return None
        turns = turning_together(first.bearing[here], last.bearing[there], self.focal, self.config.turn_px)
        turns = [turning for turning in turns if (~turning).sum() >= self.config.min_tracks]
        if not turns:
            return None
        sightings = Sightings.of(frames, min(self.start.min_views, len(frames)), self.start.crowd_px / self.focal)
        tried: list[np.ndarray] = []
        for turning in turns:
            part = self._part(sightings, ids[~turning])
            if part is None or any((part.tracks == other).all() for other in tried):
                continue
            tried.append(part.tracks)
            found = self._by_poses(sightings, part, T_cam_world) if is_sure else None
            if found is None and (is_thorough or not is_sure):
                found = self._by_motions(sightings, part, T_cam_world)
                if is_sure and found is not None and not found.follows:
                    continue
            if found is not None:
                return found
        return None

    def _part(self, sightings: Sightings, others: np.ndarray) -> _Part | None:
        """Tracks in the midst of those that do not turn with the rest; None if they are few or all over."""
        ids, ends = sightings.ids, (sightings.frames[0], sightings.frames[-1])
        last = _only(ends[1], others)
        if len(last.ids) < self.config.min_tracks:
            return None
        core = last.ids[core_of(last.bearing)]
        part = np.isin(ids, core)
        for frame in ends:
            within = within_hull(_only(frame, core).bearing, frame.bearing, self.config.margin_px / self.focal)
            part |= np.isin(ids, frame.ids[within])
        if min(part.sum(), (~part).sum()) < self.config.min_tracks:
            return None
        own, rest = (num_cells(self.focal * _only(ends[1], ids[which]).bearing) for which in (part, ~part))
        is_large = own >= self.config.usual_extent * rest
        contrast = self.config.min_contrast * (_LARGE if is_large else 1.0)
        return _Part(part, contrast) if own < self.config.max_extent * rest else None

    def _by_poses(self, sightings: Sightings, part: _Part, T_cam_world: np.ndarray | None) -> MovingBody | None:
        """Whether a part moves, if the camera's poses are sure."""
        assert T_cam_world is not None
        error = track_errors(T_cam_world, sightings, self.focal)
        cost = self._cost(error)
        if cost[part.tracks].mean() < part.contrast or np.median(error[~part.tracks]) > self.config.still_px:
            return None
        if not self._moves_as_one(sightings, part, cost):
            return None
        return self._body(sightings, part.tracks, error, follows=False)

    def _by_motions(self, sightings: Sightings, part: _Part, T_cam_world: np.ndarray | None) -> MovingBody | None:
        """Whether a part moves, by the motion of the rest, by its own, and by that of both; not if the poses at hand
        explain both."""
        mine, at_hand = part.tracks, None
        if T_cam_world is not None:
            at_hand = self._cost(track_errors(T_cam_world, sightings, self.focal))
            if max(at_hand[mine].mean(), at_hand[~mine].mean()) < _EXPLAINED:
                return None
        scene = self._motion(sightings, ~mine)
        if scene is None:
            return None
        error = track_errors(scene.T_cam_world, sightings, self.focal)
        cost = self._cost(error)
        if not self._moves_as_one(sightings, part, cost):
            return None
        both = self._motion(sightings, np.ones_like(mine))
        if both is None:
            return None
        joint = self._cost(track_errors(both.T_cam_world, sightings, self.focal))
        if joint[~mine].mean() < self.config.min_gain * cost[~mine].mean():
            return None
        taken = joint if at_hand is None else at_hand
        return self._body(sightings, mine, error, follows=bool(taken[mine].mean() < _FOLLOWS * cost[mine].mean()))

    def _moves_as_one(self, sightings: Sightings, part: _Part, cost: np.ndarray) -> bool:
        """Whether a part's own motion explains it far better than the scene's, which leaves each track a cost (P,)."""
        mine = part.tracks
        if cost[mine].mean() < part.contrast:
            return False
        own = self._motion(sightings, mine)
        if own is None:
            return False
        left = self._cost(track_errors(own.T_cam_world, sightings, self.focal))
        return bool(cost[mine].mean() - left[mine].mean() > part.contrast)

    def _body(self, sightings: Sightings, part: np.ndarray, error: np.ndarray, *, follows: bool) -> MovingBody:
        still = error < self.config.still_px
        return MovingBody(sightings.ids[part & ~still], sightings.ids[~part & still], follows)

    def _cost(self, error_px: np.ndarray) -> np.ndarray:
        return np.log1p((error_px / self.config.scale_px) ** 2)

    def _motion(self, sightings: Sightings, part: np.ndarray) -> Candidate | None:
        """The motion that explains some tracks (P,) bool best."""
        frames = [_only(frame, sightings.ids[part]) for frame in sightings.frames]
        first, last = frames[0], frames[-1]
        _, here, there = np.intersect1d(first.ids, last.ids, assume_unique=True, return_indices=True)
        before, after = first.bearing[here], last.bearing[there]
        found = two_view_hypotheses(before, after, self.focal, self.start.max_hypotheses)
        return next(iter(refine(frames, [one.T_b_a for one in found], self.focal, self.start)), None)


def track_errors(T_cam_world: np.ndarray, sightings: Sightings, focal: float) -> np.ndarray:
    """Root mean square distance (P,) in pixels of each track from the best point for it, poses (C, 4, 4) given."""
    number = len(sightings.ids)
    seen = replace(sightings.observations, weight=np.ones(len(sightings.observations.view)))
    found = triangulate(T_cam_world, seen, number)
    still = np.zeros(len(T_cam_world), bool)
    result = adjust(BundleProblem(T_cam_world, still, found.points, seen, focal), _POLISH)
    mean = np.bincount(seen.point, result.error_px**2, number) / np.bincount(seen.point, minlength=number)
    return np.where(found.in_front, np.sqrt(mean), _BEHIND_PX)


def _only(frame: PointFrame, ids: np.ndarray) -> PointFrame:
    return frame.only(np.isin(frame.ids, ids))
