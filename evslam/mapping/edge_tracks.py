"""Measures the depth of keyframes' edges, and looks for them in other keyframes."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from evslam.geometry.rigid import inverse
from evslam.mapping.covisibility import Sightlines, covisible
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_match import match_edges
from evslam.mapping.edge_sweep import spread, sweep_edges, sweep_range
from evslam.multiview.edge_links import EdgeLinks
from evslam.multiview.observations import Observations
from evslam.multiview.sparse_map import SparseMap
from evslam.settings_mapping import LinkConfig

_MIN_VIEWS = 2  # besides the host
_MIN_LANDMARKS = 10
_MIN_REVISITED = 15  # edges of an old keyframe


def sweep_keyframe(map_: SparseMap, index: int, imager: EdgeImager, config: LinkConfig) -> None:
    """Measure the depth of a keyframe's edges anew, from its neighbours on both sides."""
    host, count = map_.keyframes[index], len(map_.keyframes)
    last = min(max(index - config.max_views // 2, 0) + config.max_views, count - 1)
    around = range(max(last - config.max_views, 0), last + 1)
    neighbours = [map_.keyframes[each] for each in around if each != index and map_.are_neighbours(index, each)]
    views = [(k.image, k.T_cam_world) for k in neighbours if k.image is not None]
    landmark = host.landmark[host.landmark >= 0]
    depth = (map_.points[landmark] @ host.T_cam_world[:3, :3].T + host.T_cam_world[:3, 3])[:, 2]
    depth = depth[depth > 1e-3]
    if host.image is None or len(views) < _MIN_VIEWS or len(depth) < _MIN_LANDMARKS:
        return
    poses = np.stack([pose for _, pose in views]) @ inverse(host.T_cam_world)
    span = sweep_range(1 / depth, imager.config.range_factor)
    found = sweep_edges(imager, host.image, [image for image, _ in views], poses, span)
    host.edges = spread(found, imager.config.cell_px, imager.config.max_points)


def _revisits(map_: SparseMap) -> defaultdict[int, list[int]]:
    """The keyframes that show the same place as each."""
    found = defaultdict(list)
    for old, new in map_.revisits:
        found[old].append(new)
        found[new].append(old)
    return found


def link_edges(
    map_: SparseMap, views: list[int], is_free: np.ndarray, imager: EdgeImager, config: LinkConfig
) -> EdgeLinks | None:
    """Edges of the free keyframes among `views`, as seen by others of them, and what free keyframes see of the edges of
    older keyframes that look at the same place; None if there are none."""
    links, revisits, lines = _Links(map_, views, imager, config), _revisits(map_), Sightlines.of(map_)
    for view, free in zip(views, is_free, strict=True):
        if free:
            targets = [view + offset for offset in config.offsets if map_.are_neighbours(view, view + offset)]
            again = covisible(map_, lines, view, max(config.offsets, default=0), config.revisits, _limits(config))
            wanted = dict.fromkeys(targets + again + revisits[view])
            links.add_host(view, [each for each in wanted if each in links.number_of])
            for host in again:
                if host not in links.number_of:
                    links.add_old_host(host, view)
    return links.finished()


def edges_agree(map_: SparseMap, host: int, target: int, imager: EdgeImager, config: LinkConfig) -> bool:
    """Whether a keyframe sees the edges of another, far away in time, close to where they should be."""
    return _Links(map_, [target], imager, config).revisited(host, target) is not None


def _limits(config: LinkConfig) -> tuple[float, float]:
    return np.radians(config.revisit_deg), config.revisit_distance


class _Links:
    """Collects the parts of `EdgeLinks`."""

    def __init__(self, map_: SparseMap, views: list[int], imager: EdgeImager, config: LinkConfig) -> None:
        self.map, self.views, self.imager, self.config = map_, views, imager, config
        self.number_of = {view: number for number, view in enumerate(views)}
        self.seen: list[tuple[np.ndarray, ...]] = []  # view, point, bearing, normal
        self.points: list[tuple[np.ndarray, ...]] = []  # host, row, world point
        self.total = 0
        self._hosts: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def add_host(self, host: int, targets: list[int]) -> None:
        """Edges of a free keyframe that at least two targets see."""
        keyframe, canvas = self.map.keyframes[host], self.imager.canvas
        if keyframe.edges is None or not len(keyframe.edges):
            return
        found = [(target, *each) for target in targets if (each := self._find(host, target)) is not None]
        count = sum((each[3].astype(int) for each in found), np.zeros(len(keyframe.edges), int))
        kept = count >= _MIN_VIEWS
        place, own = np.where(kept, self.total + np.cumsum(kept) - 1, -1), np.flatnonzero(kept)
        self._see(self.number_of[host], place[own], canvas.bearings(keyframe.edges.pixel[own]), np.zeros((len(own), 2)))
        for target, pixel, normal, seen in found:
            used = seen & kept
            self._see(self.number_of[target], place[used], canvas.bearings(pixel[used]), normal[used])
        self._place(host, own, own)

    def add_old_host(self, host: int, target: int) -> None:
        """Edges of a keyframe that does not take part, where a free one sees them close to where they should be."""
        found = self.revisited(host, target)
        if found is None:
            return
        pixel, normal, rows = found
        place = self.total + np.arange(len(rows))
        self._see(self.number_of[target], place, self.imager.canvas.bearings(pixel[rows]), normal[rows])
        self._place(host, rows, np.full(len(rows), -1))

    def revisited(self, host: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Pixel and normal of each edge, and the rows that are seen, if they are close to where they should be."""
        found = self._find(host, target)
        if found is None:
            return None
        pixel, normal, seen = found
        offset = self._offset(host, target, pixel, normal)
        if seen.sum() < _MIN_REVISITED or np.median(offset[seen]) > self.config.max_revisit_px:
            return None
        return pixel, normal, np.flatnonzero(seen)

    def finished(self) -> EdgeLinks | None:
        if not self.total:
            return None
        view, point, bearing, normal = (np.concatenate(column) for column in zip(*self.seen, strict=True))
        host, row, points = (np.concatenate(column) for column in zip(*self.points, strict=True))
        order = np.argsort(point, kind="stable")
        weight = np.ones(len(order))
        observations = Observations(view[order], point[order], bearing[order], normal[order], weight)
        return EdgeLinks(host, row, points, observations, self.config.weight * self.config.max_error_px)

    def _see(self, number: int, point: np.ndarray, bearing: np.ndarray, normal: np.ndarray) -> None:
        self.seen.append((np.full(len(point), number), point, bearing, self.config.weight * normal))

    def _place(self, host: int, rows: np.ndarray, told: np.ndarray) -> None:
        world = self._world(host)[rows]
        self.points.append((np.full(len(rows), host), told, world))
        self.total += len(rows)

    def _host(self, host: int) -> tuple[np.ndarray, np.ndarray]:
        """A keyframe's edge points (N, 3) in its camera frame, and its T_world_cam (4, 4); worked out once."""
        if host not in self._hosts:
            keyframe = self.map.keyframes[host]
            assert keyframe.edges is not None
            self._hosts[host] = keyframe.edges.points(self.imager.canvas), inverse(keyframe.T_cam_world)
        return self._hosts[host]

    def _world(self, host: int) -> np.ndarray:
        points, T_world_host = self._host(host)
        return points @ T_world_host[:3, :3].T + T_world_host[:3, 3]

    def _find(self, host: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        source, seer = self.map.keyframes[host], self.map.keyframes[target]
        if source.edges is None or seer.image is None or not len(source.edges):
            return None
        points, T_world_host = self._host(host)
        pose, radius = seer.T_cam_world @ T_world_host, self.imager.config.match_px
        return match_edges(self.imager, points, source.edges.tangent, pose, seer.image, radius)

    def _offset(self, host: int, target: int, pixel: np.ndarray, normal: np.ndarray) -> np.ndarray:
        """Distance (N,) across the edge between where edges are found and where they should be."""
        pose = self.map.keyframes[target].T_cam_world
        points = self._world(host) @ pose[:3, :3].T + pose[:3, 3]
        expected = self.imager.canvas.pixels(points[:, :2] / np.maximum(points[:, 2:], 1e-3))
        return np.abs(((pixel - expected) * normal).sum(1))
