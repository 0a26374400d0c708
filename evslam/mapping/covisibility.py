"""Which keyframes see the same place, however long ago."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evslam.multiview.bundle import centres
from evslam.multiview.sparse_map import SparseMap


@dataclass(frozen=True)
class Sightlines:
    """Where the keyframes of a map stand, centre (K, 3), and where they look, axis (K, 3)."""

    centre: np.ndarray
    axis: np.ndarray

    @staticmethod
    def of(map_: SparseMap) -> Sightlines:
        """Those of all keyframes of a map."""
        poses = np.stack([keyframe.T_cam_world for keyframe in map_.keyframes])
        return Sightlines(centres(poses), poses[:, 2, :3])


def covisible(
    map_: SparseMap, lines: Sightlines, index: int, nearest: int, most: int, limits: tuple[float, float]
) -> list[int]:
    """Keyframes far from `index` in time that look at the same place from nearby, the most alike first.

    Args:
        map_: keyframes.
        lines: of its keyframes.
        index: of the one in question.
        nearest: distance in the order of keyframes that counts as far.
        most: to return; they lie half of `nearest` apart.
        limits: largest angle between the viewing directions in rad, and distance over the median depth.
    """
    angle = np.arccos(np.clip(lines.axis @ lines.axis[index], -1, 1))
    distance = np.linalg.norm(lines.centre - lines.centre[index], axis=1) / map_.median_depth(index)
    unlike = angle / limits[0] + distance / limits[1]
    far = np.abs(np.arange(len(lines.centre)) - index) > nearest
    candidates = np.flatnonzero(far & (unlike <= 1))
    chosen: list[int] = []
    for candidate in candidates[np.argsort(unlike[candidates], kind="stable")].tolist():
        if len(chosen) == most:
            break
        if all(abs(candidate - other) > nearest // 2 for other in chosen):
            chosen.append(candidate)
    return chosen
