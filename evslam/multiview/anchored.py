"""Poses that hang on keyframes, so that they go where these go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evslam.geometry.rigid import inverse
from evslam.multiview.keyframe import Keyframe


@dataclass(frozen=True)
class AnchoredPoses:
    """Poses of moments, each told by a keyframe.

    Attributes:
        t_us: (N,) int64 the moments.
        key_us: (N,) int64 times of the keyframes.
        T_cam_key: (N, 4, 4) float64.
        unit: (N,) float64, `Keyframe.unit` then.
    """

    t_us: np.ndarray
    key_us: np.ndarray
    T_cam_key: np.ndarray
    unit: np.ndarray

    def __len__(self) -> int:
        return len(self.t_us)

    @staticmethod
    def none() -> AnchoredPoses:
        """No poses."""
        return AnchoredPoses(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4, 4)), np.zeros(0))

    @staticmethod
    def to(keyframe: Keyframe, t_us: np.ndarray, T_cam_world: np.ndarray) -> AnchoredPoses:
        """Poses (N, 4, 4) at times (N,) that go with a keyframe from now on."""
        count = len(t_us)
        relative = T_cam_world @ inverse(keyframe.T_cam_world)
        return AnchoredPoses(t_us, np.full(count, keyframe.t_us), relative, np.full(count, keyframe.unit))

    def join(self, other: AnchoredPoses) -> AnchoredPoses:
        """These and others."""
        return AnchoredPoses(
            np.concatenate([self.t_us, other.t_us]),
            np.concatenate([self.key_us, other.key_us]),
            np.concatenate([self.T_cam_key, other.T_cam_key]),
            np.concatenate([self.unit, other.unit]),
        )

    def poses(self, keyframes: list[Keyframe]) -> np.ndarray:
        """T_cam_world (N, 4, 4) by the keyframes as they are; theirs must be among them."""
        row_of = {keyframe.t_us: row for row, keyframe in enumerate(keyframes)}
        row = np.array([row_of[t_us] for t_us in self.key_us.tolist()], np.int64)
        relative, unit = self.T_cam_key.copy(), np.array([keyframe.unit for keyframe in keyframes])
        relative[:, :3, 3] *= (unit[row] / self.unit)[:, None]
        return np.asarray(relative @ np.stack([keyframe.T_cam_world for keyframe in keyframes])[row])
