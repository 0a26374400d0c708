"""Which keyframes see the same place, however long ago."""

from __future__ import annotations

import numpy as np

from evslam.multiview.bundle import centres
from evslam.multiview.sparse_map import SparseMap


def covisible(map_: SparseMap, index: int, nearest: int, most: int, limits: tuple[float, float]) -> list[int]:
    """Keyframes far from `index` in time that look at the same place from nearby, the most alike first.

    Args:
        map_: keyframes.
        index: of the one in question.
        nearest: distance in the order of keyframes that counts as far.
        most: to return; they lie half of `nearest` apart.
        limits: largest angle between the viewing directions in rad, and distance over the median depth.
    """
    poses = np.stack([keyframe.T_cam_world for keyframe in map_.keyframes])
    centre = centres(poses)
    angle = np.arccos(np.clip(poses[:, 2, :3] @ poses[index, 2, :3], -1, 1))
    distance = np.linalg.norm(centre - centre[index], axis=1) / _median_depth(map_, index)
    unlike = angle / limits[0] + distance / limits[1]
    far = np.abs(np.arange(len(poses)) - index) > nearest
    chosen: list[int] = []
    for candidate in np.argsort(unlike, kind="stable").tolist():
        if unlike[candidate] > 1 or len(chosen) == most:
            break
        if far[candidate] and all(abs(candidate - other) > nearest // 2 for other in chosen):
            chosen.append(candidate)
    return chosen


def _median_depth(map_: SparseMap, index: int) -> float:
    keyframe = map_.keyframes[index]
    landmark = keyframe.landmark[keyframe.landmark >= 0]
    if not len(landmark):
        return 1.0
    return max(float(np.median(map_.points[landmark] @ keyframe.T_cam_world[2, :3] + keyframe.T_cam_world[2, 3])), 1e-3)
