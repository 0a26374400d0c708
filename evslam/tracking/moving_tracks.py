"""Which tracks are on moving objects, carried on from frame to frame: new ones join, others leave."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from scipy.spatial import cKDTree

from evslam.geometry.canvas import Canvas
from evslam.settings_tracking import MoversConfig
from evslam.tracking.hulls import are_near, core_of, groups_of, within_hull
from evslam.tracking.image_flow import fit_flow, flow_at
from evslam.types import PointFrame

_GRID_PX = 4  # of a region
_MIN_FOR_FLOW = 6
_CLEAR = 3.0  # two flows at a place are so many times as far apart as a track is from the nearer one ...
_CLEARER = 2.0  # ... and it is so many times as far from the other one
_NO_TRACKS = np.zeros(0, np.int64)


class MovingTracks:
    """Tracks that move, those that are taken to as long as they lie in the midst of these, and those that do not.

    Attributes:
        proven: (M,) int64 ascending, tracks that move.
        still: (S,) ascending, tracks that do not, wherever they lie.
        since: of others that lie in the midst of tracks that move, since when.
    """

    def __init__(self) -> None:
        self.proven, self.still = _NO_TRACKS, _NO_TRACKS
        self.since: dict[int, int] = {}

    @property
    def any(self) -> bool:
        """Something moves."""
        return len(self.proven) > 0

    def copy(self) -> MovingTracks:
        """The same tracks, proven ones alone."""
        other = MovingTracks()
        other.proven = self.proven
        return other

    def are_moving(self, ids: np.ndarray) -> np.ndarray:
        """(N,) bool, which of these tracks are taken to move."""
        return np.isin(ids, self.proven) | np.isin(ids, list(self.since))

    def learn(self, moving: np.ndarray, still: np.ndarray) -> None:
        """These tracks move; these do not. In doubt, a track moves."""
        self.still = np.setdiff1d(np.union1d(self.still, still), moving)
        self.proven = np.setdiff1d(np.union1d(self.proven, moving), self.still)

    def follow(self, frame: PointFrame, before: Iterable[PointFrame], canvas: Canvas, config: MoversConfig) -> None:
        """Carry them on to a frame.

        Args:
            frame: all its tracks.
            before: frames of the last moments, in the order of time.
            canvas: image plane.
            config: limits.
        """
        self.proven = self.proven[np.isin(self.proven, frame.ids)]
        self.still = self.still[np.isin(self.still, frame.ids)]
        if not self.any:
            self.since = {}
            return
        earlier = next((each for each in before if each.t_us >= frame.t_us - 1e6 * config.flow_s), None)
        if earlier is not None and frame.t_us - earlier.t_us > 0.5e6 * config.flow_s:
            self._by_flow(earlier, frame, canvas, config)
        within = frame.ids[self._in_midst(frame, canvas, config)].tolist()
        self.since = {track: self.since.get(track, frame.t_us) for track in within}
        proven = [track for track, t_us in self.since.items() if frame.t_us - t_us > 1e6 * config.prove_s]
        self.proven = np.union1d(self.proven, np.array(proven, np.int64))

    def beside(self, frame: PointFrame, canvas: Canvas, radius_px: float) -> np.ndarray:
        """Tracks (B,) of a frame that move, or have one that does so near."""
        place = canvas.pixels(frame.bearing)
        return frame.ids[are_near(place, place[np.isin(frame.ids, self.proven)], radius_px)]

    def region(self, frame: PointFrame, canvas: Canvas, radius_px: float) -> np.ndarray:
        """(H, W) bool, pixels whose nearest track moves and is so near."""
        shape, moves = (canvas.height, canvas.width), self.are_moving(frame.ids)
        if not moves.any():
            return np.zeros(shape, bool)
        place = canvas.pixels(frame.bearing)
        y, x = np.mgrid[_GRID_PX // 2 : shape[0] : _GRID_PX, _GRID_PX // 2 : shape[1] : _GRID_PX]
        small, cell = np.zeros(x.shape, np.uint8), np.stack([x, y], -1)
        first, last = place[moves].min(0), place[moves].max(0)
        around = ((cell > first - radius_px) & (cell < last + radius_px)).all(-1)
        apart, nearest = cKDTree(place).query(cell[around], distance_upper_bound=radius_px)
        small[around] = np.append(moves, False)[np.where(np.isfinite(apart), nearest, len(moves))]
        return np.asarray(cv2.resize(small, shape[::-1], interpolation=cv2.INTER_NEAREST) > 0)

    def _by_flow(self, earlier: PointFrame, frame: PointFrame, canvas: Canvas, config: MoversConfig) -> None:
        """Tracks near those that move follow the flow of these, or that of the rest, where the two differ."""
        ids, here, there = np.intersect1d(earlier.ids, frame.ids, assume_unique=True, return_indices=True)
        start, place = canvas.pixels(earlier.bearing[here]), canvas.pixels(frame.bearing[there])
        moves, change = np.isin(ids, self.proven), place - start
        if min(moves.sum(), (~moves).sum()) < _MIN_FOR_FLOW:
            return
        flows = [fit_flow(start[which], change[which], canvas.centre) for which in (moves, ~moves)]
        with_it, with_rest = (flow_at(flow, start, canvas.centre) for flow in flows)
        from_it, from_rest = (np.linalg.norm(change - each, axis=1) for each in (with_it, with_rest))
        apart = np.linalg.norm(with_it - with_rest, axis=1)
        tells = (apart > config.flow_px) & (_CLEAR * np.minimum(from_it, from_rest) < apart)
        near = are_near(place, place[moves], 2 * config.radius_px)
        self.learn(ids[tells & near & (_CLEARER * from_it < from_rest)], ids[tells & (_CLEARER * from_rest < from_it)])

    def _in_midst(self, frame: PointFrame, canvas: Canvas, config: MoversConfig) -> np.ndarray:
        """(N,) bool, tracks of which nothing is known, in the midst of some that move."""
        place, moves = canvas.pixels(frame.bearing), np.isin(frame.ids, self.proven)
        moving, within = place[moves], np.zeros(len(place), bool)
        for rows in groups_of(moving, 2 * config.radius_px):
            group = moving[rows]
            within |= within_hull(group[core_of(group)], place, config.margin_px)
        within &= are_near(place, moving, config.radius_px)
        return within & ~moves & ~np.isin(frame.ids, self.still)
