"""Pose of a moment by the map's edges: the objectives to choose from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evslam.config import Config
from evslam.mapping.edge_alignment import align_edges
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_pose import EdgeHost, edges_in_view, pose_from_edges
from evslam.mapping.union_contrast import align_by_contrast
from evslam.multiview.edges import EdgeImage
from evslam.tracking.point_pose import PointPose


@dataclass(frozen=True)
class EdgePlace:
    """What edges say about a pose.

    Attributes:
        T_cam_world: (4, 4) by the edges; None when few are found.
        is_doubtful: many edges should be in view, and few of them are found where they should be. Only the objective
            `search` can tell.
    """

    T_cam_world: np.ndarray | None
    is_doubtful: bool


def place_by_edges(
    imager: EdgeImager, image: EdgeImage, hosts: list[EdgeHost], pose: PointPose, config: Config
) -> EdgePlace:
    """The pose by the edges of keyframes, starting at the pose by points.

    Args:
        imager: canvas and thresholds.
        image: edge image of the moment.
        hosts: keyframes whose edges may be in view, at least one.
        pose: by the tracked points of the moment.
        config: `edge_pose.objective` chooses.
    """
    limits = config.edge_pose
    if limits.objective == "search":
        fit = pose_from_edges(imager, image, hosts, pose.T_cam_world, pose.seen, limits)
        in_view = edges_in_view(imager, image, hosts, pose.T_cam_world)
        sharp = 0 if fit is None else int((fit.error_px[len(pose.seen.points) :] < limits.sharp_px).sum())
        doubtful = in_view >= limits.doubt_edges and sharp < limits.doubt_share * in_view
        return EdgePlace(None if fit is None else fit.T_cam_world, doubtful)
    points = np.concatenate([host.world_points for host in hosts])
    if limits.objective == "contrast":
        return EdgePlace(align_by_contrast(imager, image, points, pose.T_cam_world, config.union), False)
    aligned = align_edges(imager, points, np.ascontiguousarray(pose.T_cam_world), image)
    return EdgePlace(aligned.T_cam_world if aligned.num_points >= limits.min_edges else None, False)
