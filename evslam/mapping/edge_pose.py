"""Pose of a moment from the edges of the map, together with its tracked points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evslam.geometry.canvas import inside
from evslam.geometry.rigid import inverse, seen_from
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_match import match_edges
from evslam.multiview.edges import EdgeImage, EdgePoints
from evslam.multiview.observations import PointSightings
from evslam.multiview.pose import PoseFit, PoseSettings, estimate_pose
from evslam.settings_tracking import EdgePoseConfig

_MIN_DEPTH = 1e-3


@dataclass(frozen=True)
class EdgeHost:
    """A keyframe's edges: points in its camera frame (N, 3), tangents (N, 2), and its pose T_cam_world (4, 4)."""

    points: np.ndarray
    tangent: np.ndarray
    T_cam_world: np.ndarray

    @property
    def world_points(self) -> np.ndarray:
        """(N, 3) in the world."""
        T_world_host = inverse(self.T_cam_world)
        return self.points @ T_world_host[:3, :3].T + T_world_host[:3, 3]

    @staticmethod
    def of(edges: EdgePoints, T_cam_world: np.ndarray, imager: EdgeImager) -> EdgeHost:
        return EdgeHost(edges.points(imager.canvas), edges.tangent, T_cam_world)


def edges_in_view(imager: EdgeImager, hosts: list[EdgeHost], T_cam_world: np.ndarray) -> int:
    """How many of the hosts' edges a camera could see."""
    bearing, depth = seen_from(T_cam_world, np.concatenate([host.world_points for host in hosts]))
    return int(inside(imager.canvas.pixels(bearing[depth > _MIN_DEPTH]), imager.valid).sum())


def pose_from_edges(
    imager: EdgeImager,
    image: EdgeImage,
    hosts: list[EdgeHost],
    T_cam_world: np.ndarray,
    seen: PointSightings,
    config: EdgePoseConfig,
) -> PoseFit | None:
    """Robust least squares over landmarks (in both directions) and edges (across them); None when few edges are found.

    Args:
        imager: canvas and thresholds.
        image: edge image of the moment.
        hosts: keyframes whose edges may be in view.
        T_cam_world: (4, 4) to start from, a few pixels off at most.
        seen: tracked points of the moment.
        config: limits.
    """
    fit: PoseFit | None = None
    settings = PoseSettings(imager.canvas.focal, config.scale_px, config.iterations)
    for radius in config.radius_px:
        world, bearing, normal = [seen.points], [seen.bearing], [np.zeros_like(seen.bearing)]
        for host in hosts:
            T_world_host = inverse(host.T_cam_world)
            pixel, across, found = match_edges(
                imager, host.points, host.tangent, T_cam_world @ T_world_host, image, radius
            )
            world.append(host.points[found] @ T_world_host[:3, :3].T + T_world_host[:3, 3])
            bearing.append(imager.canvas.bearings(pixel[found]))
            normal.append(config.weight * across[found])
        points = np.concatenate(world)
        if len(points) - len(seen.points) < config.min_edges:
            return None
        weight = np.append(seen.weight, np.ones(len(points) - len(seen.points)))
        fit = estimate_pose(T_cam_world, points, np.concatenate(bearing), np.concatenate(normal), weight, settings)
        T_cam_world = fit.T_cam_world
    return fit
