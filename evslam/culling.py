"""Keyframes that show what older ones show are taken out: a map of a known place stays as large as it is."""

from __future__ import annotations

import numpy as np

from evslam.config import Config
from evslam.frame_poses import placed_frames
from evslam.mapping.covisibility import Sightlines, covisible
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_tracks import edges_agree
from evslam.multiview.anchored import AnchoredPoses
from evslam.multiview.sparse_map import SparseMap
from evslam.types import PointFrame

_ASKED = 3  # older keyframes that are nearest


def cull(map_: SparseMap, frames: list[PointFrame], imager: EdgeImager, config: Config) -> np.ndarray:
    """Take out the keyframe that has just become old, if the map is large and an older keyframe shows the same.

    What it shows is the same if the older one stands near, looks the same way, and its edges lie where they should.
    The frames around it get their final pose now, and go with the older keyframe from now on.

    Args:
        map_: changed in place: `SparseMap.anchored`, too.
        frames: tracked points, in the order of time.
        imager: canvas, and how edges are found.
        config: `cull` says what is large, old and near.

    Returns:
        (N,) int64 times of the frames that are not needed any more.
    """
    index = len(map_.keyframes) - config.cull.recent
    anchor = _older(map_, index, imager, config) if index >= max(config.cull.keyframes, map_.num_given) else None
    if anchor is None:
        return np.zeros(0, np.int64)
    before, after = map_.keyframes[index - 1].t_us, map_.keyframes[index + 1].t_us
    around = [frame for frame in frames if before <= frame.t_us <= after]
    t_us, poses = placed_frames(map_, around, imager.canvas.focal, config)
    between = (t_us > before) & (t_us < after)
    anchored = AnchoredPoses.to(map_.keyframes[anchor], t_us[between], poses[between])
    map_.anchored = map_.anchored.join(anchored)
    map_.remove_keyframe(index)
    return anchored.t_us


def _older(map_: SparseMap, index: int, imager: EdgeImager, config: Config) -> int | None:
    """A keyframe long before another one that shows the same; None without."""
    limits = float(np.radians(config.cull.max_deg)), config.cull.max_distance
    near = covisible(map_, Sightlines.of(map_), index, config.places.min_gap, _ASKED, limits)
    older = (each for each in near if each < index and edges_agree(map_, each, index, imager, config.link))
    return next(older, None)
