"""What is true of a map by ground truth: which keyframes are near each other, and how far a pose or a loop is off."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.geometry.similarity import Similarity
from evslam.geometry.trajectory import camera_matrices, interpolate
from evslam.multiview.bundle import centres
from evslam.multiview.sparse_map import SparseMap
from evslam.types import Trajectory

NEAR_DEG, NEAR_DEPTHS = 15.0, 0.25
_LOCAL = 10  # keyframes on both sides that tell the local scale


def poses_at(truth: Trajectory, t_us: np.ndarray) -> np.ndarray:
    """True T_cam_world (N, 4, 4)."""
    return camera_matrices(interpolate(truth, np.clip(t_us, truth.t_us[0], truth.t_us[-1])))


class MapTruth:
    """Ground truth of a map.

    Args:
        map_: of one recording.
        truth: of the recording.
    """

    def __init__(self, map_: SparseMap, truth: Trajectory) -> None:
        self.map, self.truth = map_, truth
        self.found = np.stack([keyframe.T_cam_world for keyframe in map_.keyframes])
        self.true = poses_at(truth, np.array([keyframe.t_us for keyframe in map_.keyframes]))
        self.depth = np.array([map_.median_depth(index) for index in range(len(self.found))])
        steps = [np.linalg.norm(np.diff(centres(poses), axis=0), axis=1) for poses in (self.true, self.found)]
        self.metres = np.array([
            float(np.divide(*(each[max(k - _LOCAL, 0) : k + _LOCAL].sum() for each in steps)))
            for k in range(len(self.found))
        ])  # fmt: skip

    def unlike(self, T_cam_world: np.ndarray) -> np.ndarray:
        """(K,) how different the view from a true pose (4, 4) is from that of each keyframe; below 1 it is near."""
        angle = np.degrees(np.arccos(np.clip(self.true[:, 2, :3] @ T_cam_world[2, :3], -1, 1)))
        apart = np.linalg.norm(centres(self.true) - centres(T_cam_world[None]), axis=1)
        return np.asarray(np.maximum(angle / NEAR_DEG, apart / (self.metres * np.median(self.depth)) / NEAR_DEPTHS))

    def nearest(self, t_us: int) -> tuple[int, bool]:
        """The keyframe that sees most of the same as the camera at a moment, and whether it is near."""
        unlike = self.unlike(poses_at(self.truth, np.array([t_us]))[0])
        return int(unlike.argmin()), bool(unlike.min() < 1)

    def error(self, t_us: int, T_cam_world: np.ndarray, k: int) -> tuple[float, float]:
        """How far a pose is off, from keyframe k on: in depths, and in degrees."""
        true = poses_at(self.truth, np.array([t_us]))[0] @ np.linalg.inv(self.true[k])
        true[:3, 3] /= self.metres[k]
        return self._apart(true, T_cam_world @ np.linalg.inv(self.found[k]), k)

    def loop_error(self, old: int, new: int, new_from_old: Similarity) -> tuple[float, float]:
        """How far the second of two keyframes is off, from the first on, if a loop is right: in depths, and degrees."""
        true = self.true[new] @ np.linalg.inv(self.true[old])
        true[:3, 3] /= self.metres[old]
        pose = np.eye(4)
        pose[:3, :3] = new_from_old.rotation[0]
        pose[:3, 3] = new_from_old.translation[0] / new_from_old.scale[0]
        return self._apart(true, pose, old)

    def _apart(self, true: np.ndarray, found: np.ndarray, k: int) -> tuple[float, float]:
        both = np.stack([true, found])
        apart = float(np.linalg.norm(np.diff(centres(both), axis=0))) / float(self.depth[k])
        return apart, float(np.degrees(Rotation.from_matrix(both[0, :3, :3] @ both[1, :3, :3].T).magnitude()))
