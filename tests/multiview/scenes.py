"""A synthetic scene of points and edges seen by cameras on an arc."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.multiview.observations import Observations

FOCAL = 250.0


@dataclass(frozen=True)
class Scene:
    """The truth: poses (C, 4, 4), points (P, 3), exact observations."""

    T_cam_world: np.ndarray
    points: np.ndarray
    observations: Observations


def make_scene(num_views: int = 8, num_points: int = 40, num_edges: int = 60, seed: int = 0) -> Scene:
    """Cameras that look along z from an arc, points 2 to 6 away, each seen by about two thirds of the cameras."""
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (num_views, 1, 1))
    s = np.linspace(-1, 1, num_views)
    centre = np.stack([s, 0.3 * s**2, 0.2 * np.sin(3 * s)], 1)
    poses[:, :3, :3] = Rotation.from_rotvec(0.1 * np.stack([s**2, -s, np.cos(2 * s)], 1)).as_matrix()
    poses[:, :3, 3] = -np.einsum("cij,cj->ci", poses[:, :3, :3], centre)
    total = num_points + num_edges
    depth = rng.uniform(2, 6, total)
    points = np.column_stack([rng.uniform(-0.5, 0.5, (total, 2)) * depth[:, None], depth])
    seen = rng.random((total, num_views)) < 0.67
    seen[:, :3] = True
    point, view = np.nonzero(seen)
    observations = Observations.of_points(view, point, project(poses[view], points[point]))
    angle = rng.uniform(0, np.pi, len(view))
    normal = np.stack([np.cos(angle), np.sin(angle)], 1) * (point >= num_points)[:, None]
    return Scene(poses, points, replace(observations, normal=normal))


def project(T_cam_world: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, 2) bearings of points (N, 3) from poses (N, 4, 4)."""
    seen = np.einsum("nij,nj->ni", T_cam_world[:, :3, :3], points) + T_cam_world[:, :3, 3]
    return seen[:, :2] / seen[:, 2:]


def move(T_cam_world: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The pose (4, 4) after a step (6,) (w, v): exp(w) R, exp(w) t + v."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(step[:3]).as_matrix()
    turn[:3, 3] = step[3:]
    return turn @ T_cam_world
