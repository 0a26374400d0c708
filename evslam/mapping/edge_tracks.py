"""Measures the depth of keyframes' edges, and looks for them in other keyframes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np

from evslam.beside import two_at_a_time
from evslam.geometry.rigid import inverse
from evslam.mapping.covisibility import Sightlines, covisible
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_match import Match, match_edges
from evslam.mapping.edge_pose import EdgeHost, edges_in_view
from evslam.mapping.edge_sweep import spread, sweep_edges, sweep_range
from evslam.multiview.edge_links import EdgeLinks
from evslam.multiview.edges import EdgeImage
from evslam.multiview.observations import Observations
from evslam.multiview.sparse_map import SparseMap
from evslam.settings_mapping import LinkConfig

Look = Callable[[EdgeImager, list[np.ndarray], list[EdgeImage], list[tuple[int, int]], np.ndarray, int], list[Match]]

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


def sweep_keyframes(map_: SparseMap, indices: Iterable[int], imager: EdgeImager, config: LinkConfig) -> None:
    """The same for some keyframes, two at a time."""
    two_at_a_time(lambda index: sweep_keyframe(map_, index, imager, config), indices)


def _revisits(map_: SparseMap) -> defaultdict[int, list[int]]:
    """The keyframes that show the same place as each."""
    found = defaultdict(list)
    for old, new in map_.revisits:
        found[old].append(new)
        found[new].append(old)
    return found


def link_edges(
    map_: SparseMap,
    views: list[int],
    is_free: np.ndarray,
    imager: EdgeImager,
    config: LinkConfig,
    look: Look = match_edges,
) -> EdgeLinks | None:
    """Edges of the free keyframes among `views`, as seen by others of them, and what free keyframes see of the edges of
    older keyframes that look at the same place; None if there are none. `look` finds edges in other keyframes."""
    links, revisits, lines = _Links(map_, views, imager, config, look), _revisits(map_), Sightlines.of(map_)
    asked: list[tuple[int, list[int], list[int]]] = []  # a free keyframe, where to look for its edges, older ones
    for view, free in zip(views, is_free, strict=True):
        if free:
            targets = [view + offset for offset in config.offsets if map_.are_neighbours(view, view + offset)]
            again = covisible(map_, lines, view, max(config.offsets, default=0), config.revisits, _limits(config))
            wanted = dict.fromkeys(targets + again + revisits[view])
            inside = [each for each in wanted if each in links.number_of]
            asked.append((view, inside, [each for each in again if each not in links.number_of]))
    pairs = [(view, target) for view, targets, _ in asked for target in targets]
    links.find(pairs + [(host, view) for view, _, hosts in asked for host in hosts])
    for view, targets, hosts in asked:
        links.add_host(view, targets)
        for host in hosts:
            links.add_old_host(host, view)
    return links.finished()


def edges_agree(map_: SparseMap, host: int, target: int, imager: EdgeImager, config: LinkConfig) -> bool:
    """Whether a keyframe sees the edges of another, far away in time, close to where they should be, and most of those
    in view: at a wrong place, too, many an edge lies near some other."""
    links = _Links(map_, [target], imager, config)
    links.find([(host, target)])
    match = links.revisited(host, target)
    one, other = map_.keyframes[host], map_.keyframes[target]
    if match is None or one.edges is None or other.image is None:
        return False
    in_view = edges_in_view(imager, other.image, [EdgeHost.of(one.edges, one.T_cam_world, imager)], other.T_cam_world)
    near = (np.abs(match.offset[match.found]) <= config.max_revisit_px).sum()
    return bool(near >= config.min_agreeing * in_view)


def _limits(config: LinkConfig) -> tuple[float, float]:
    return np.radians(config.revisit_deg), config.revisit_distance


class _Links:
    """Collects the parts of `EdgeLinks`."""

    def __init__(
        self, map_: SparseMap, views: list[int], imager: EdgeImager, config: LinkConfig, look: Look = match_edges
    ) -> None:
        self.map, self.imager, self.config, self.look = map_, imager, config, look
        self.number_of = {view: number for number, view in enumerate(views)}
        self.matches: dict[tuple[int, int], Match] = {}  # of host and target
        self.seen: list[tuple[np.ndarray, ...]] = []  # view, point, pixel, normal
        self.points: list[tuple[np.ndarray, ...]] = []  # host, row, world point
        self.total = 0
        self._lines: dict[int, np.ndarray] = {}

    def find(self, pairs: list[tuple[int, int]]) -> None:
        """Look for the edges of hosts in targets, where the one has edges and the other an image."""
        keyframes, images, usable = self.map.keyframes, dict[int, EdgeImage](), list[tuple[int, int]]()
        for host, target in dict.fromkeys(pairs):
            edges, image = keyframes[host].edges, keyframes[target].image
            if edges is not None and len(edges) and image is not None:
                usable.append((host, target))
                images[target] = image
                if host not in self._lines:
                    self._lines[host] = edges.lines(self.imager.canvas)
        if not usable:
            return
        host_number, target_number = ({key: k for k, key in enumerate(each)} for each in (self._lines, images))
        numbers = [(host_number[host], target_number[target]) for host, target in usable]
        T_world_host, T_target_world = (
            np.stack([keyframes[each].T_cam_world for each in column]) for column in zip(*usable, strict=True)
        )
        T = T_target_world @ inverse(T_world_host)
        lines, radius = list(self._lines.values()), self.imager.config.match_px
        found = self.look(self.imager, lines, list(images.values()), numbers, T, radius)
        self.matches = dict(zip(usable, found, strict=True))

    def add_host(self, host: int, targets: list[int]) -> None:
        """Edges of a free keyframe that at least two targets see."""
        edges = self.map.keyframes[host].edges
        found = [(target, self.matches[host, target]) for target in targets if (host, target) in self.matches]
        if edges is None or not found:
            return
        count = np.sum([match.found for _, match in found], axis=0)
        kept = count >= _MIN_VIEWS
        place, own = np.where(kept, self.total + np.cumsum(kept) - 1, -1), np.flatnonzero(kept)
        self._see(self.number_of[host], place[own], edges.pixel[own], np.zeros((len(own), 2)))
        for target, match in found:
            used = match.found & kept
            self._see(self.number_of[target], place[used], match.pixel[used], match.normal[used])
        self._place(host, own, own)

    def add_old_host(self, host: int, target: int) -> None:
        """Edges of a keyframe that does not take part, where a free one sees them close to where they should be."""
        match = self.revisited(host, target)
        if match is None:
            return
        rows = np.flatnonzero(match.found)
        place = self.total + np.arange(len(rows))
        self._see(self.number_of[target], place, match.pixel[rows], match.normal[rows])
        self._place(host, rows, np.full(len(rows), -1))

    def revisited(self, host: int, target: int) -> Match | None:
        """What a keyframe sees of another's edges, if they are close to where they should be."""
        match = self.matches.get((host, target))
        if match is None:
            return None
        offset = np.abs(match.offset[match.found])
        is_near = len(offset) >= _MIN_REVISITED and 2 * (offset <= self.config.max_revisit_px).sum() >= len(offset)
        return match if is_near else None

    def finished(self) -> EdgeLinks | None:
        if not self.total:
            return None
        view, point, pixel, normal = (np.concatenate(column) for column in zip(*self.seen, strict=True))
        host, row, points = (np.concatenate(column) for column in zip(*self.points, strict=True))
        order = np.argsort(point, kind="stable")
        bearing, weight = self.imager.canvas.bearings(pixel[order]), np.ones(len(order))
        observations = Observations(view[order], point[order], bearing, normal[order], weight)
        return EdgeLinks(host, row, points, observations, self.config.weight * self.config.max_error_px)

    def _see(self, number: int, point: np.ndarray, pixel: np.ndarray, normal: np.ndarray) -> None:
        self.seen.append((np.full(len(point), number), point, pixel, self.config.weight * normal))

    def _place(self, host: int, rows: np.ndarray, told: np.ndarray) -> None:
        T_world_host = inverse(self.map.keyframes[host].T_cam_world)
        world = self._lines[host][rows, :3] @ T_world_host[:3, :3].T + T_world_host[:3, 3]
        self.points.append((np.full(len(rows), host), told, world))
        self.total += len(rows)
