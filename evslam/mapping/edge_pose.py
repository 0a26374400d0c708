"""Pose of a moment from the edges of the map, together with its tracked points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evslam.geometry.canvas import inside
from evslam.geometry.rigid import inverse, seen_from
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_match import match_edges
from evslam.multiview.edges import EdgeImage, EdgePoints
from evslam.multiview.observations import PointSightings
from evslam.multiview.pose import PoseFit, PoseSettings, estimate_pose
from evslam.settings_mapping import EdgePoseConfig

_MIN_DEPTH = 1e-3


@dataclass(frozen=True)
class EdgeHost:
    """A keyframe's edges, see `EdgePoints.lines` (N, 5), and its pose T_cam_world (4, 4)."""

    lines: np.ndarray
    T_cam_world: np.ndarray

    @cached_property
    def T_world_cam(self) -> np.ndarray:
        """(4, 4)."""
        return inverse(self.T_cam_world)

    @cached_property
    def world_points(self) -> np.ndarray:
        """(N, 3) in the world."""
        return self.lines[:, :3] @ self.T_world_cam[:3, :3].T + self.T_world_cam[:3, 3]

    @staticmethod
    def of(edges: EdgePoints, T_cam_world: np.ndarray, imager: EdgeImager) -> EdgeHost:
        """From the edges that a keyframe with this pose (4, 4) has."""
        return EdgeHost(edges.lines(imager.canvas), T_cam_world)


def edges_in_view(imager: EdgeImager, image: EdgeImage, hosts: list[EdgeHost], T_cam_world: np.ndarray) -> int:
    """How many of the hosts' edges a camera could see in an image."""
    bearing, depth = seen_from(T_cam_world, np.concatenate([host.world_points for host in hosts]))
    valid = imager.valid if image.hidden is None else imager.valid & ~image.hidden
    return int(inside(imager.canvas.pixels(bearing[depth > _MIN_DEPTH]), valid).sum())


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
    if not hosts:
        return None
    fit: PoseFit | None = None
    settings = PoseSettings(imager.canvas.focal, config.scale_px, config.iterations)
    lines, world = [host.lines for host in hosts], np.concatenate([host.world_points for host in hosts])
    T_world_host, pairs = np.stack([host.T_world_cam for host in hosts]), [(k, 0) for k in range(len(hosts))]
    for radius in config.radius_px:
        matches = match_edges(imager, lines, [image], pairs, T_cam_world @ T_world_host, radius)
        pixel, across, _, found = (np.concatenate(column) for column in zip(*matches, strict=True))
        if found.sum() < config.min_edges:
            return None
        points = np.concatenate([seen.points, world[found]])
        bearing = np.concatenate([seen.bearing, imager.canvas.bearings(pixel[found])])
        normal = np.concatenate([seen.normal, config.weight * across[found]])
        weight = np.append(seen.weight, np.ones(len(points) - len(seen.points)))
        fit = estimate_pose(T_cam_world, points, bearing, normal, weight, settings)
        T_cam_world = fit.T_cam_world
    return fit
