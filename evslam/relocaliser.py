"""The camera found in maps that are not being tracked: after a loss, or in the map of an earlier recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.backend.place_search import Place, PlaceIndex, SearchSettings, glimpse_of
from evslam.beside import Worker
from evslam.config import Config
from evslam.geometry.rigid import NEAR, seen_from
from evslam.mapping.edge_image import EdgeImager, inverse_depth_at, inverse_depth_grid
from evslam.mapping.edge_pose import EdgeHost, edges_in_view, pose_from_edges
from evslam.multiview.bundle import centres
from evslam.multiview.edges import EdgeImage
from evslam.multiview.observations import PointSightings
from evslam.multiview.sparse_map import SparseMap
from evslam.state import from_state, to_state
from evslam.tracking.point_pose import PointPose, pose_from_points
from evslam.types import PointFrame

_STATE = ("asked", "first", "next_us", "num_attempts", "num_places")


@dataclass(frozen=True)
class Links:
    """What the tracks of a moment are in a map.

    Attributes:
        number: of the map.
        ids: (N,) int64, tracks.
        landmark: (N,) int64 of the map, -1 where the track is none of them.
        points: (N, 3) float64, world; a guess from the surroundings where there is no landmark.
        spread: (N, 3) float64, of a guess, see `SparseMap`.
    """

    number: int
    ids: np.ndarray
    landmark: np.ndarray
    points: np.ndarray
    spread: np.ndarray

    def apply(self, map_: SparseMap) -> None:
        """Let a map know these tracks; guesses become landmarks that are not firm."""
        known = self.landmark >= 0
        map_.link(self.ids[known], self.landmark[known])
        map_.add_landmarks(self.points[~known], self.ids[~known], self.spread[~known])

    def merge(self, map_: SparseMap) -> None:
        """As `apply` for a map that follows these tracks already: what it takes them for is the same landmark; no
        guesses."""
        known = self.landmark >= 0
        kept, gone = self.landmark[known], map_.landmarks(self.ids[known])
        map_.join_landmarks(kept[gone >= 0], gone[gone >= 0])
        map_.link(self.ids[known], self.landmark[known])


@dataclass(frozen=True)
class Return:
    """The camera is back in a map.

    Attributes:
        links: of the tracks.
        pose: of the frame.
        keyframe: of the map, that shows the same.
    """

    links: Links
    pose: PointPose
    keyframe: int


_CLASSES = (PointFrame, Links)


class Relocaliser:
    """Looks at a frame now and then, in keyframes of maps that look alike, and is sure when two frames agree.

    A place counts if many points of a keyframe agree with one pose, and if the edges of its neighbours lie where this
    pose has them, and hold it: where little of the map is in view, it may be off by a tenth of the depth. It is
    confirmed if the frame's tracks, carried on to the next frame, tell the pose found there.

    Args:
        config: resolved configuration.
        imager: canvas, and how edges are found.
        worker: does the search, perhaps in a thread of its own; its result is taken at a fixed moment.

    Attributes:
        maps: to look in, the most likely one last; none of them changes meanwhile.
        num_attempts: frames that were looked at; num_places: those whose place was found.
    """

    def __init__(self, config: Config, imager: EdgeImager, worker: Worker) -> None:
        self.config, self.imager, self.worker = config, imager, worker
        self.maps: list[SparseMap] = []
        self.asked: PointFrame | None = None  # the frame that is being looked at
        self.first: Links | None = None  # of a place that waits for its confirmation
        self.next_us = self.num_attempts = self.num_places = 0
        self.wait: Callable[[], None] = lambda: None
        self._indices: list[PlaceIndex] = []
        self._answer: tuple[int, Place] | None = None

    def seek(self, maps: list[SparseMap]) -> None:
        """Look in these maps from now on."""
        self.wait()
        self.maps, self.asked, self.first, self._answer, self.next_us = maps, None, None, None, 0
        self._indices = [index for index in self._indices if any(index.map is map_ for map_ in maps)]

    def add(self, frame: PointFrame, *, in_need: bool) -> Return | None:
        """One more frame; what it is in one of the maps if that is sure.

        Args:
            frame: tracked points and images of the moment.
            in_need: there is no other map to track against: look more often.
        """
        search = self.config.search
        if not search.use or not self.maps or frame.signed is None or frame.votes is None:
            return None
        found, asked = None, self.asked
        if asked is not None and frame.t_us >= asked.t_us + round(1e6 * search.interval_s[0]):
            self.wait()
            found = self._judge(asked, frame)
            self.asked, self.next_us = None, asked.t_us + round(1e6 * self._interval_s(in_need))
        if self.asked is None and found is None and frame.t_us >= self.next_us:
            self._ask(frame)
        return found

    def _interval_s(self, in_need: bool) -> float:
        """From one look to the next: one in many maps takes longer than one in a single map."""
        shortest, longest, idle = self.config.search.interval_s
        if self.first is not None:
            return shortest
        return min(len(self.maps) * shortest, longest) if in_need else idle

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on, beside the maps."""
        return {name: to_state(getattr(self, name)) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any], maps: list[SparseMap]) -> None:
        """Take over the state of another relocaliser, which looked in these maps."""
        self.seek(maps)
        for name in _STATE:
            setattr(self, name, from_state(state[name], _CLASSES))
        if self.asked is not None:
            self._ask(self.asked)

    def _ask(self, frame: PointFrame) -> None:
        self.asked, self._answer = frame, None
        self.num_attempts += 1
        self.wait = self.worker(self._search, frame)

    def _search(self, frame: PointFrame) -> None:
        """The place of a frame in the last of the maps that shows it, sharpened and checked by the edges."""
        assert frame.signed is not None
        assert frame.votes is not None
        config = self.config
        image = self.imager.of_votes(frame.votes.astype(np.float32), 0, frame.hidden)
        glimpse = glimpse_of(frame.signed, self.imager.canvas, config.search.points, config.places)
        for number in range(len(self.maps) - 1, -1, -1):
            places = self._index_of(self.maps[number]).find(glimpse)
            sharpened = (self._by_edges(self.maps[number], place, image) for place in places)
            passed = list(islice((each for each in sharpened if each is not None), config.search.enough))
            if passed:
                self._answer = number, max(passed, key=lambda each: each[0])[1]
                return

    def _index_of(self, map_: SparseMap) -> PlaceIndex:
        for index in self._indices:
            if index.map is map_:
                return index
        self._indices.append(PlaceIndex(map_, self.imager.canvas, SearchSettings.of(self.config)))
        return self._indices[-1]

    def _by_edges(self, map_: SparseMap, place: Place, image: EdgeImage) -> tuple[float, Place] | None:
        """A place by the edges around its keyframe, and which share of those in view lie where they should; None if too
        few do, or if they leave the position open."""
        search = self.config.search
        near = range(place.keyframe - search.neighbours, place.keyframe + search.neighbours + 1)
        keyframes = [map_.keyframes[k] for k in near if map_.are_neighbours(place.keyframe, k)]
        hosts = [EdgeHost.of(k.edges, k.T_cam_world, self.imager) for k in keyframes if k.edges is not None]
        if not hosts:
            return None
        edges = replace(self.config.edge_pose, radius_px=search.edge_radius_px, min_edges=search.min_edges)
        no_points = PointSightings.of_points(np.zeros((0, 3)), np.zeros((0, 2)), np.zeros(0))
        fit = pose_from_edges(self.imager, image, hosts, place.T_cam_world, no_points, edges)
        if fit is None:
            return None
        sharp = fit.error_px < self.config.edge_pose.sharp_px
        share = float(sharp.sum()) / max(edges_in_view(self.imager, image, hosts, fit.T_cam_world), 1)
        if sharp.mean() < search.min_sharp_share or share < search.min_edge_share:
            return None
        spread = float(np.sqrt(np.trace(fit.covariance[:3, :3])))
        if not spread < search.max_sigma * _median_depth(fit.T_cam_world, place.points):
            return None
        return share, replace(place, T_cam_world=fit.T_cam_world)

    def _judge(self, asked: PointFrame, frame: PointFrame) -> Return | None:
        """What to make of the answer for a frame, a little later."""
        first, self.first = self.first, None
        if self._answer is None:
            return None
        number, place = self._answer
        self.num_places += 1
        self.first = self._links(number, place, asked)
        if first is None or first.number != number or not self._confirms(first, place, asked):
            return None
        pose = self._pose(frame, self.first, place.T_cam_world)
        return None if pose is None else Return(self.first, pose, place.keyframe)

    def _links(self, number: int, place: Place, frame: PointFrame) -> Links:
        """Tracks that lie at a landmark are this; the others have the depth of their surroundings."""
        map_, canvas = self.maps[number], self.imager.canvas
        bearing, depth = seen_from(place.T_cam_world, place.points)
        shown = depth > NEAR
        bearing, depth, landmark = bearing[shown], depth[shown], place.landmark[shown]
        grid = inverse_depth_grid(canvas, canvas.pixels(bearing), 1 / depth)
        rays = np.column_stack([frame.bearing, np.ones(len(frame.ids))])
        points = rays / inverse_depth_at(canvas, grid, frame.bearing)[:, None]
        points = (points - place.T_cam_world[:3, 3]) @ place.T_cam_world[:3, :3]
        firm = np.flatnonzero((landmark >= 0) & np.append(map_.firm & map_.alive, False)[landmark])
        track, row = _nearest_pairs(frame.bearing, bearing[firm], self.config.search.link_px / canvas.focal)
        own = np.full(len(frame.ids), -1, np.int64)
        own[track] = landmark[firm[row]]
        points[track] = map_.points[own[track]]
        spread = self.config.landmark.depth_spread * (points - centres(place.T_cam_world[None])[0])
        return Links(number, frame.ids, own, points, spread)

    def _pose(self, frame: PointFrame, links: Links, start: np.ndarray) -> PointPose | None:
        """The pose of a later frame by the tracks that were linked."""
        view = self.maps[links.number].snapshot()
        links.apply(view)
        return pose_from_points(frame, [start], view, self.imager.canvas.focal, self.config.pose)

    def _confirms(self, first: Links, place: Place, frame: PointFrame) -> bool:
        """Whether tracks that were linked at an earlier place tell the same pose as a later place."""
        carried = self._pose(frame, first, place.T_cam_world)
        if carried is None:
            return False
        both = np.stack([carried.T_cam_world, place.T_cam_world])
        apart = float(np.linalg.norm(np.diff(centres(both), axis=0)))
        apart /= _median_depth(place.T_cam_world, place.points)
        turn = Rotation.from_matrix(both[0, :3, :3] @ both[1, :3, :3].T).magnitude()
        return max(apart, float(turn)) < self.config.search.max_deviation


def _median_depth(T_cam_world: np.ndarray, points: np.ndarray) -> float:
    return max(float(np.median(seen_from(T_cam_world, points)[1])), NEAR)


def _nearest_pairs(one: np.ndarray, other: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of places (N, 2) and (M, 2) that are each other's nearest, and within a radius."""
    if not len(one) or not len(other):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    apart = np.linalg.norm(one[:, None] - other[None], axis=2)
    row = apart.argmin(1)
    pairs = (apart.argmin(0)[row] == np.arange(len(one))) & (apart.min(1) < radius)
    return np.flatnonzero(pairs), row[pairs]
