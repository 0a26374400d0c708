"""Pose of a moment by the map's edges: the objectives to choose from."""

from __future__ import annotations

import numpy as np

from evslam.config import Config
from evslam.mapping.edge_alignment import align_edges
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_pose import EdgeHost, pose_from_edges
from evslam.mapping.union_contrast import align_by_contrast
from evslam.multiview.edges import EdgeImage
from evslam.tracking.point_pose import PointPose


def place_by_edges(
    imager: EdgeImager, image: EdgeImage, hosts: list[EdgeHost], pose: PointPose, config: Config
) -> np.ndarray | None:
    """T_cam_world (4, 4) by the edges of keyframes, starting at the pose by points; None when few edges are in view.

    Args:
        imager: canvas and thresholds.
        image: edge image of the moment.
        hosts: keyframes whose edges may be in view.
        pose: by the tracked points of the moment.
        config: `edge_pose.objective` chooses.
    """
    if config.edge_pose.objective == "search":
        fit = pose_from_edges(imager, image, hosts, pose.T_cam_world, pose.seen, config.edge_pose)
        return None if fit is None else fit.T_cam_world
    points = np.concatenate([host.world_points for host in hosts])
    if config.edge_pose.objective == "contrast":
        return align_by_contrast(imager, image, points, pose.T_cam_world, config.union)
    aligned = align_edges(imager, points, np.ascontiguousarray(pose.T_cam_world), image)
    return aligned.T_cam_world if aligned.num_points >= config.edge_pose.min_edges else None
