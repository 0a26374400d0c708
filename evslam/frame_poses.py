"""Poses of the frames between keyframes, from a map that has come to rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evslam.backend.refinement import corrected
from evslam.beside import two_at_a_time
from evslam.config import Config
from evslam.multiview.sparse_map import SparseMap
from evslam.tracking.point_pose import pose_from_points
from evslam.types import PointFrame


def compact(frame: PointFrame, last: PointFrame | None) -> PointFrame:
    """A frame in single precision; at rest it shares its tracks with the last one."""
    ids, bearing = frame.ids.astype(np.int32), frame.bearing.astype(np.float32)
    if last is not None and np.array_equal(ids, last.ids) and np.array_equal(bearing, last.bearing):
        ids, bearing = last.ids, last.bearing
    return PointFrame(frame.t_us, ids, bearing, frame.votes, frame.signed, hidden=frame.hidden)


def without_images(frame: PointFrame) -> PointFrame:
    """The points of a frame alone: images are a hundred times as large."""
    return replace(frame, votes=None, signed=None, hidden=None)


def whole(frame: PointFrame) -> PointFrame:
    """A compact frame with the types that tracking has: int64 and double precision."""
    return replace(frame, ids=frame.ids.astype(np.int64), bearing=frame.bearing.astype(float))


def placed_frames(
    map_: SparseMap, frames: list[PointFrame], focal: float, config: Config
) -> tuple[np.ndarray, np.ndarray]:
    """Times (N,), ascending, and poses T_cam_world (N, 4, 4) of the frames that a map places.

    They are placed by their points, from the keyframes on in both directions, then bent to agree with the keyframes.

    Args:
        map_: is left as it is.
        frames: in the order of time, those of keyframes among them; may be compact.
        focal: pixels per unit of bearing.
        config: limits.
    """
    frames = [whole(frame) for frame in frames]
    key_us = np.array([keyframe.t_us for keyframe in map_.keyframes])
    by_time = {keyframe.t_us: keyframe.T_cam_world for keyframe in map_.keyframes}

    def place(part: list[PointFrame]) -> dict[int, np.ndarray]:
        return _placed(part, by_time, map_, focal, config)

    found: dict[int, np.ndarray] = {}
    for part in two_at_a_time(place, _halves(frames, by_time)):
        found |= part
    t_us = np.array(sorted(found), np.int64)
    poses = np.array([found[t] for t in t_us.tolist()]).reshape(-1, 4, 4)
    known = np.isin(key_us, t_us)
    if not known.any():
        return t_us, poses
    key_poses = np.stack([keyframe.T_cam_world for keyframe in map_.keyframes])[known]
    return t_us, corrected(t_us, poses, key_us[known], np.searchsorted(t_us, key_us[known]), key_poses)


def _halves(frames: list[PointFrame], by_time: dict[int, np.ndarray]) -> list[list[PointFrame]]:
    """Two parts that have the keyframe between them in common: neither needs the other."""
    keys = [row for row, frame in enumerate(frames) if frame.t_us in by_time]
    if not keys:
        return [frames]
    middle = keys[len(keys) // 2]
    return [frames[: middle + 1], frames[middle:]]


def _placed(
    frames: list[PointFrame], by_time: dict[int, np.ndarray], map_: SparseMap, focal: float, config: Config
) -> dict[int, np.ndarray]:
    """Poses by time, from the keyframes on in both directions; `by_time` are those of keyframes."""
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
    return found
