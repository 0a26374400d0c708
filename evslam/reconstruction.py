"""The final estimate of a 6-DoF run: the whole map adjusted, and a pose for every frame, those before the start too."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evslam.backend.loop_closure import Loop, close_loops, find_loops
from evslam.backend.refinement import corrected, refine_map
from evslam.backward import map_backwards
from evslam.beside import two_at_a_time
from evslam.config import Config
from evslam.geometry.canvas import Canvas
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_tracks import edges_agree, link_edges, sweep_keyframe
from evslam.multiview.edge_links import EdgeLinks
from evslam.multiview.sparse_map import SparseMap
from evslam.tracking.point_pose import pose_from_points
from evslam.types import PointFrame, PointMap


@dataclass(frozen=True)
class Closure:
    """Loops that were found in a map, and those that its pose graph agreed with."""

    found: int
    closed: int


def refine(map_: SparseMap, imager: EdgeImager, config: Config) -> Closure:
    """Measure all edges anew with the neighbours on both sides, close loops, and adjust all keyframes."""
    two_at_a_time(lambda index: sweep_keyframe(map_, index, imager, config.link), range(len(map_.keyframes)))
    loops: list[Loop] = []
    if config.loop.use:

        def agree(old: int, new: int) -> bool:
            return edges_agree(map_, old, new, imager, config.link)

        loops = find_loops(map_, imager.canvas, config.places, config.loop, config.seed, agree)
    closed = close_loops(map_, loops, imager.canvas, config.loop) if loops else []

    def link(views: list[int], is_free: np.ndarray) -> EdgeLinks | None:
        return link_edges(map_, views, is_free, imager, config.link)

    again = replace(config.refine, rounds=config.refine.rounds + bool(closed))  # a bent map needs one more
    refine_map(map_, link, imager.canvas.focal, config.window, again)
    return Closure(len(loops), len(closed))


def final_poses(
    map_: SparseMap, frames: list[PointFrame], imager: EdgeImager, config: Config
) -> tuple[np.ndarray, np.ndarray]:
    """Times (N,), ascending, in microseconds, and poses T_cam_world (N, 4, 4) of all frames that can be placed.

    Frames are placed by their points, from the keyframes on in both directions, then bent to agree with the keyframes.
    Those before the first keyframe are followed back in time, with a map of their own that goes on from the first.
    """
    whole = [replace(each, ids=each.ids.astype(np.int64), bearing=each.bearing.astype(float)) for each in frames]
    count = sum(frame.t_us < map_.keyframes[0].t_us for frame in whole)
    t_us, poses = _placed(map_, whole[count:], imager.canvas.focal, config)
    if not count:
        return t_us, poses
    back = map_backwards(map_, whole[:count], imager, config)
    back_us, back_poses = _placed(back, whole[: count + 1], imager.canvas.focal, config)  # from the first keyframe on
    early = back_us < map_.keyframes[0].t_us
    return np.concatenate([back_us[early], t_us]), np.concatenate([back_poses[early], poses])


def _placed(map_: SparseMap, frames: list[PointFrame], focal: float, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Times (N,) and poses (N, 4, 4) of the frames that this map places."""
    key_us = np.array([keyframe.t_us for keyframe in map_.keyframes])
    by_time = {keyframe.t_us: keyframe.T_cam_world for keyframe in map_.keyframes}
    found: dict[int, np.ndarray] = {}
    for order in (frames, frames[::-1]):
        last: np.ndarray | None = None
        for frame in order:
            start = by_time.get(frame.t_us, last)
            if frame.t_us not in found and start is not None:
                pose = pose_from_points(frame, [start], map_, focal, config.pose)
                if pose is not None:
                    found[frame.t_us] = pose.T_cam_world
            last = found.get(frame.t_us)
    t_us = np.array(sorted(found), np.int64)
    poses = np.array([found[t] for t in t_us.tolist()]).reshape(-1, 4, 4)
    known = np.isin(key_us, t_us)
    if not known.any():
        return t_us, poses
    key_poses = np.stack([keyframe.T_cam_world for keyframe in map_.keyframes])[known]
    return t_us, corrected(t_us, poses, key_us[known], np.searchsorted(t_us, key_us[known]), key_poses)


def map_points(map_: SparseMap, canvas: Canvas) -> PointMap:
    """Edges of all keyframes, as sure as their depth is, and landmarks, wholly sure; world frame."""
    sure = map_.alive & map_.firm
    points, confidence = [map_.points[sure]], [np.ones(int(sure.sum()))]
    for keyframe in map_.keyframes:
        if keyframe.edges is not None:
            points.append(keyframe.edge_points(canvas))
            confidence.append(keyframe.edges.confidence.clip(0, 1))
    return PointMap(np.concatenate(points), np.concatenate(confidence))
