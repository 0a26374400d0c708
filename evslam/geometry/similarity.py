"""Arrays of similarities x -> s R x + t in numpy: what keyframes with a scale of their own are placed by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation


@dataclass(frozen=True)
class Similarity:
    """Similarities, N at a time.

    Attributes:
        rotation: (N, 3, 3) float64.
        translation: (N, 3) float64.
        scale: (N,) float64.
    """

    rotation: np.ndarray
    translation: np.ndarray
    scale: np.ndarray

    def __len__(self) -> int:
        return len(self.scale)

    def __getitem__(self, index: np.ndarray | list[int] | slice) -> Similarity:
        """The similarities of an index or mask."""
        return Similarity(self.rotation[index], self.translation[index], self.scale[index])

    def __matmul__(self, other: Similarity) -> Similarity:
        """First the other, then this; one by one."""
        return Similarity(
            self.rotation @ other.rotation, self.apply(other.translation[:, None])[:, 0], self.scale * other.scale
        )

    @staticmethod
    def of_poses(poses: np.ndarray) -> Similarity:
        """Rigid motions (N, 4, 4) as similarities of scale 1."""
        return Similarity(poses[:, :3, :3].copy(), poses[:, :3, 3].copy(), np.ones(len(poses)))

    @staticmethod
    def join(parts: list[Similarity]) -> Similarity:
        """All of them in one."""
        return Similarity(
            np.concatenate([part.rotation for part in parts]),
            np.concatenate([part.translation for part in parts]),
            np.concatenate([part.scale for part in parts]),
        )

    def inverse(self) -> Similarity:
        """The similarities that undo these."""
        back = np.swapaxes(self.rotation, 1, 2)
        return Similarity(back, -np.einsum("nij,nj->ni", back, self.translation) / self.scale[:, None], 1 / self.scale)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points (N, M, 3), M of each similarity, moved."""
        return self.turn(points) + self.translation[:, None]

    def turn(self, vectors: np.ndarray) -> np.ndarray:
        """Differences of points (N, M, 3), M of each similarity, turned and scaled."""
        return np.asarray(self.scale[:, None, None] * np.einsum("nij,nmj->nmi", self.rotation, vectors))

    def rigid(self) -> np.ndarray:
        """(N, 4, 4) poses T_cam_world of cameras that are placed by these, T_world_cam, whatever their scale."""
        back = np.swapaxes(Rotation.from_matrix(self.rotation).as_matrix(), 1, 2)  # without what rounding has added
        poses = np.tile(np.eye(4), (len(self), 1, 1))
        poses[:, :3, :3], poses[:, :3, 3] = back, -np.einsum("nij,nj->ni", back, self.translation)
        return poses

    def carry(self, T_cam_world: np.ndarray) -> np.ndarray:
        """Pose (4, 4) of a camera after its world was moved so (one similarity)."""
        return (self @ Similarity.of_poses(np.linalg.inv(T_cam_world)[None])).rigid()[0]

    def retract(self, step: np.ndarray) -> Similarity:
        """After steps (N, 7) in the local frame: translation v, rotation vector w, logarithm of scale."""
        local = Similarity(Rotation.from_rotvec(step[:, 3:6]).as_matrix(), step[:, :3], np.exp(step[:, 6]))
        return self @ local

    def chart(self) -> np.ndarray:
        """(N, 7) translation, rotation vector, logarithm of scale: zero for the identity."""
        turn = Rotation.from_matrix(self.rotation).as_rotvec()
        return np.concatenate([self.translation, turn, np.log(self.scale)[:, None]], 1)


def cross_matrix(vectors: np.ndarray) -> np.ndarray:
    """(N, 3, 3) of (N, 3): matrix times x is the cross product of the vector and x."""
    matrix = np.zeros((len(vectors), 3, 3))
    x, y, z = vectors.T
    matrix[:, 0, 1], matrix[:, 0, 2], matrix[:, 1, 2] = -z, y, -x
    matrix[:, 1, 0], matrix[:, 2, 0], matrix[:, 2, 1] = z, -y, x
    return matrix
