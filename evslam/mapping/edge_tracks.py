"""Looks for the edges of keyframes in their neighbours."""

from __future__ import annotations

import numpy as np

from evslam.mapping.edges import EdgeMapper
from evslam.multiview.edge_links import EdgeLinks
from evslam.multiview.observations import Observations
from evslam.multiview.sparse_map import SparseMap

_MIN_VIEWS = 2  # besides the host
_ENDS = (0.03, 0.97)  # quantiles of the landmarks' inverse depth ...
_BEYOND = 1.8  # ... and how far beyond a sweep goes
_MIN_LANDMARKS = 10


def sweep_keyframe(map_: SparseMap, index: int, mapper: EdgeMapper) -> None:
    """Measure the depth of a keyframe's edges anew, from its neighbours on both sides."""
    config, host = mapper.config, map_.keyframes[index]
    first = max(index - config.max_views // 2, 0)
    last = min(first + config.max_views, len(map_.keyframes) - 1)
    first = max(last - config.max_views, 0)
    views = [k for k in map_.keyframes[first : last + 1] if k is not host and k.image is not None]
    landmark = host.landmark[host.landmark >= 0]
    depth = (map_.points[landmark] @ host.T_cam_world[:3, :3].T + host.T_cam_world[:3, 3])[:, 2]
    depth = depth[depth > 1e-3]
    if host.image is None or len(views) < _MIN_VIEWS or len(depth) < _MIN_LANDMARKS:
        return
    near, far = np.quantile(1 / depth, _ENDS)
    T_host_inverse = np.linalg.inv(host.T_cam_world)
    poses = np.stack([view.T_cam_world @ T_host_inverse for view in views])
    images = [view.image for view in views if view.image is not None]
    found = mapper.depth(host.image, images, poses, (near / _BEYOND, far * _BEYOND))
    host.edges = mapper.spread(found)


def link_edges(map_: SparseMap, views: list[int], is_free: np.ndarray, mapper: EdgeMapper) -> EdgeLinks | None:
    """Edges of the free keyframes among `views`, as seen by others of them; None if there are none."""
    config, number_of = mapper.config, {view: number for number, view in enumerate(views)}
    parts: list[tuple[np.ndarray, ...]] = []
    hosts, rows, points, total = [], [], [], 0
    for view, free in zip(views, is_free, strict=True):
        host = map_.keyframes[view]
        if not free or host.edges is None or not len(host.edges):
            continue
        count, seen = np.zeros(len(host.edges), np.int64), []
        T_world_host = np.linalg.inv(host.T_cam_world)
        for offset in config.offsets:
            number = number_of.get(view + offset)
            target = map_.keyframes[view + offset] if number is not None else None
            if target is None or target.image is None:
                continue
            pose = target.T_cam_world @ T_world_host
            pixel, normal, found = mapper.find(host.edges, pose, target.image, config.radius_px)
            count += found
            seen.append((number, pixel, normal, found))
        kept = count >= _MIN_VIEWS
        if not kept.any():
            continue
        place = np.where(kept, total + np.cumsum(kept) - 1, -1)
        bearing, own = mapper.canvas.bearings(host.edges.pixel[kept]), place[kept]
        parts.append((np.full(len(own), number_of[view]), own, bearing, np.zeros((len(own), 2))))
        for number, pixel, normal, found in seen:
            used = found & kept
            view_number = np.full(int(used.sum()), number)
            parts.append((view_number, place[used], mapper.canvas.bearings(pixel[used]), config.weight * normal[used]))
        hosts.append(np.full(len(own), view))
        rows.append(np.flatnonzero(kept))
        points.append(host.edges.point[kept] @ T_world_host[:3, :3].T + T_world_host[:3, 3])
        total += len(own)
    if not total:
        return None
    view_, point, bearing, normal = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(point, kind="stable")
    observations = Observations(view_[order], point[order], bearing[order], normal[order], np.ones(len(order)))
    limit = config.weight * config.max_error_px
    return EdgeLinks(np.concatenate(hosts), np.concatenate(rows), np.concatenate(points), observations, limit)
