"""Maps and trajectories moved into a world in metres with gravity along -z."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.geometry.similarity import Similarity
from evslam.inertial.scale_problem import ScaleFit
from evslam.multiview.sparse_map import SparseMap
from evslam.types import Trajectory

_FORWARD = np.array([0.0, 0.0, 1.0])  # of a camera
_SIDEWAYS = 0.1  # of a unit vector: less of it across gravity tells no heading


@dataclass(frozen=True)
class MetricWorld:
    """x -> scale rotation x takes points of the map to a world in metres with gravity along -z; the origin stays.

    Attributes:
        rotation: (3, 3).
        scale: metres per unit of the map.
    """

    rotation: np.ndarray
    scale: float

    @staticmethod
    def of(fit: ScaleFit, R_world_cam: np.ndarray) -> MetricWorld:
        """The world in which this camera (3, 3) looks along +x, up or down aside."""
        return MetricWorld(upright(fit.gravity, R_world_cam), 1 / fit.inverse_scale)

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 3) of the map in the world."""
        return np.asarray(self.scale * points @ self.rotation.T)

    def trajectory(self, trajectory: Trajectory) -> Trajectory:
        """A trajectory T_map_cam as T_world_cam."""
        turned = Rotation.from_matrix(self.rotation) * Rotation.from_quat(trajectory.quaternion)
        return Trajectory(trajectory.t_us, np.hstack([self.points(trajectory.position), turned.as_quat()]))

    def move(self, map_: SparseMap) -> None:
        """Move a map, its keyframes and their edges."""
        map_.move(Similarity(self.rotation[None], np.zeros((1, 3)), np.array([self.scale])))


def upright(gravity: np.ndarray, R_world_cam: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) into a world with gravity along -z, in which the given camera looks along +x or up or down.

    Args:
        gravity: (3,) in the axes of the old world.
        R_world_cam: (3, 3) of the camera whose heading counts; where it looks along gravity, that of its upper edge.
    """
    up = -gravity / np.linalg.norm(gravity)
    ahead = R_world_cam @ _FORWARD
    if np.linalg.norm(np.cross(ahead, up)) < _SIDEWAYS:
        ahead = -R_world_cam[:, 1]
    ahead = ahead - (ahead @ up) * up
    ahead = ahead / np.linalg.norm(ahead)
    return np.stack([ahead, np.cross(up, ahead), up])
