"""Stretches of a recording that have a map of their own: how they begin, are put away, and are picked up again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evslam.backend.loop_closure import bend
from evslam.geometry.similarity import Similarity
from evslam.multiview.sparse_map import SparseMap
from evslam.tracking.bootstrap import Start
from evslam.tracking.point_pose import PointPose
from evslam.types import PointFrame

_MIN_COMMON = 10  # points that tell the scale between two maps


@dataclass(frozen=True)
class Segment:
    """A stretch of the recording with a map of its own.

    Attributes:
        map: keyframes, landmarks, edges.
        frames: from the first attempt to start to the end; of this recording alone.
    """

    map: SparseMap
    frames: list[PointFrame]


def placed_start(start: Start, origin: np.ndarray, segments: list[Segment]) -> tuple[np.ndarray, np.ndarray]:
    """Points (P, 3) and poses (C, 4, 4) of a start, moved and scaled into the world.

    Args:
        start: of a new map.
        origin: (4, 4) pose of its first camera: where the last map was lost.
        segments: put away before; the median depth is as it was at the end of the last one, 1 without any.
    """
    depth = 1.0
    if segments:
        last = segments[-1].map
        newest = last.keyframes[-1]
        seen, pose = newest.landmark[newest.landmark >= 0], newest.T_cam_world
        depth = float(np.median(last.points[seen] @ pose[2, :3] + pose[2, 3])) if len(seen) else 1.0
    scale = depth / float(np.median(start.points[start.good, 2]))
    T_world_start = np.linalg.inv(origin)
    poses = start.T_cam_world.copy()
    poses[:, :3, 3] *= scale
    points = scale * start.points @ T_world_start[:3, :3].T + T_world_start[:3, 3]
    return points, poses @ origin


def without_known(frame: PointFrame, map_: SparseMap) -> PointFrame:
    """A frame without the tracks that a map knows: they have turned out to follow something else there."""
    new = map_.landmarks(frame.ids) < 0
    return replace(frame, ids=frame.ids[new], bearing=frame.bearing[new])


def join_maps(old: SparseMap, new: SparseMap, in_old: PointPose, in_new: PointPose) -> bool:
    """Append a map to an older one, moved and scaled so that a frame which is known in both has one place.

    Args:
        old: changed in place; it has other tracks than the new one.
        new: becomes part of the old one.
        in_old, in_new: pose of the frame in either map.

    Returns:
        False, with nothing done, if the frame has too few points with a landmark in both maps, or if the new map was
        given and has to stay where it is.
    """
    _, mine, other = np.intersect1d(in_old.rows, in_new.rows, assume_unique=True, return_indices=True)
    depth, new_depth = _depths(in_old)[mine], _depths(in_new)[other]
    good = (depth > 0) & (new_depth > 0)
    if good.sum() < _MIN_COMMON or new.num_given:
        return False
    scale = float(np.median(depth[good] / new_depth[good]))
    grown = in_new.T_cam_world.copy()
    grown[:3, 3] *= scale
    whole = np.linalg.inv(in_old.T_cam_world) @ grown
    old_from_new = Similarity(whole[None, :3, :3], whole[None, :3, 3], np.array([scale]))
    poses = np.stack([keyframe.T_cam_world for keyframe in new.keyframes])
    bend(new, old_from_new[np.zeros(len(poses), int)] @ Similarity.of_poses(np.linalg.inv(poses)))
    old.append(new)
    return True


def _depths(pose: PointPose) -> np.ndarray:
    return np.asarray(pose.seen.points @ pose.T_cam_world[2, :3] + pose.T_cam_world[2, 3])
