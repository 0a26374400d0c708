"""A camera that does not turn: on a rail, a slider, an arm.

Within a narrow view a small turn across the motion looks like a shift over other depths. An adjustment is free to turn
such a camera by a degree or two to fit its errors, and the direction of the motion is then off by as much or more.
Where the map can be explained about as well by a camera that never turns, that simpler motion is taken.
"""

from __future__ import annotations

import logging

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.backend.refinement import Adjust, Adjustment, Scope
from evslam.config import Config
from evslam.geometry.rigid import inverse
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_tracks import sweep_keyframes
from evslam.multiview.sparse_map import SparseMap

log = logging.getLogger(__name__)

_AS_MANY = 0.95  # of the observations
_STILL = Scope(may_turn=False)


def without_turning(
    map_: SparseMap, imager: EdgeImager, config: Config, free: Adjustment, adjust: Adjust
) -> SparseMap | None:
    """The map of a camera that does not turn, if that explains as much as `map_`; None if not.

    Args:
        map_: adjusted with turns; it stays as it is.
        imager: canvas, and how edges are found.
        config: limits, in its section `refine`.
        free: that adjustment.
        adjust: adjusts a map.
    """
    turned, limits = turned_deg(map_), config.refine
    if not free.num_observations or map_.num_given or turned > limits.unturned_deg:
        return None
    still = map_.copy()
    _straighten(still)
    adjust(still, _STILL)
    sweep_keyframes(still, range(len(still.keyframes)), imager, config.link)  # their depth came of poses that turned
    if not adjust(still, _STILL).explains(free, _AS_MANY, limits.max_unturned_cost):
        return None
    log.info("the camera turned by %.1f degrees at most: it is taken not to have turned at all", turned)
    return still


def turned_deg(map_: SparseMap) -> float:
    """The most that a keyframe is turned against the first."""
    rotations = Rotation.from_matrix([keyframe.T_cam_world[:3, :3] for keyframe in map_.keyframes])
    return float(np.degrees((rotations * rotations[0].inv()).magnitude().max()))


def _straighten(map_: SparseMap) -> None:
    """Give all keyframes the rotation of the first, where they are."""
    for keyframe in map_.keyframes:
        T_world_cam = inverse(keyframe.T_cam_world)
        T_world_cam[:3, :3] = map_.keyframes[0].T_cam_world[:3, :3].T
        keyframe.T_cam_world = inverse(T_world_cam)
