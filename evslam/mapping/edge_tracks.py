"""Measures the depth of keyframes' edges, and looks for them in other keyframes."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_match import match_edges
from evslam.mapping.edge_sweep import spread, sweep_edges, sweep_range
from evslam.multiview.edge_links import EdgeLinks
from evslam.multiview.observations import Observations
from evslam.multiview.sparse_map import SparseMap
from evslam.settings import LinkConfig

_MIN_VIEWS = 2  # besides the host
_MIN_LANDMARKS = 10


def sweep_keyframe(map_: SparseMap, index: int, imager: EdgeImager, config: LinkConfig) -> None:
    """Measure the depth of a keyframe's edges anew, from its neighbours on both sides."""
    host, count = map_.keyframes[index], len(map_.keyframes)
    last = min(max(index - config.max_views // 2, 0) + config.max_views, count - 1)
    neighbours = [k for k in map_.keyframes[max(last - config.max_views, 0) : last + 1] if k is not host]
    views = [(k.image, k.T_cam_world) for k in neighbours if k.image is not None]
    landmark = host.landmark[host.landmark >= 0]
    depth = (map_.points[landmark] @ host.T_cam_world[:3, :3].T + host.T_cam_world[:3, 3])[:, 2]
    depth = depth[depth > 1e-3]
    if host.image is None or len(views) < _MIN_VIEWS or len(depth) < _MIN_LANDMARKS:
        return
    poses = np.stack([pose for _, pose in views]) @ np.linalg.inv(host.T_cam_world)
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
    """Edges of the free keyframes among `views`, as seen by others of them; None if there are none."""
    number_of, canvas = {view: number for number, view in enumerate(views)}, imager.canvas
    revisits = _revisits(map_)
    parts: list[tuple[np.ndarray, ...]] = []
    hosts, rows, points, total = [], [], [], 0
    for view, free in zip(views, is_free, strict=True):
        host = map_.keyframes[view]
        if not free or host.edges is None or not len(host.edges):
            continue
        edges, in_host = host.edges, host.edges.points(canvas)
        T_world_host, count, seen = np.linalg.inv(host.T_cam_world), np.zeros(len(edges), np.int64), []
        others = [view + offset for offset in config.offsets] + revisits[view]
        for number in (number_of[other] for other in others if other in number_of):
            target = map_.keyframes[views[number]]
            if target.image is None:
                continue
            pose = target.T_cam_world @ T_world_host
            found = match_edges(imager, in_host, edges.tangent, pose, target.image, imager.config.match_px)
            count += found[2]
            seen.append((number, *found))
        kept = count >= _MIN_VIEWS
        place = np.where(kept, total + np.cumsum(kept) - 1, -1)
        own = place[kept]
        parts.append(
            (np.full(len(own), number_of[view]), own, canvas.bearings(edges.pixel[kept]), np.zeros((len(own), 2)))
        )
        for number, pixel, normal, found_here in seen:
            used = found_here & kept
            across = config.weight * normal[used]
            parts.append((np.full(int(used.sum()), number), place[used], canvas.bearings(pixel[used]), across))
        hosts.append(np.full(len(own), view))
        rows.append(np.flatnonzero(kept))
        points.append(in_host[kept] @ T_world_host[:3, :3].T + T_world_host[:3, 3])
        total += len(own)
    if not total:
        return None
    view_, point, bearing, normal = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(point, kind="stable")
    observations = Observations(view_[order], point[order], bearing[order], normal[order], np.ones(len(order)))
    limit = config.weight * config.max_error_px
    return EdgeLinks(np.concatenate(hosts), np.concatenate(rows), np.concatenate(points), observations, limit)
