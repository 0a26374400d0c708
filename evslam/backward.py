"""Frames before the first keyframe: the camera is followed back in time, while the map grows to where it came from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evslam.backend.place_search import look_of
from evslam.config import Config
from evslam.frame_poses import whole
from evslam.growth import grow
from evslam.mapping.edge_image import EdgeImager
from evslam.multiview.sparse_map import SparseMap
from evslam.tracking.point_pose import leaves_keyframe, pose_from_points
from evslam.types import PointFrame

_RARER, _WITHOUT_IMAGE = 2, 4  # keyframes than online, and where frames have kept no events


def map_backwards(map_: SparseMap, frames: list[PointFrame], imager: EdgeImager, config: Config) -> None:
    """Let a map go on before its first keyframe, as far as the points can be followed.

    Its keyframes stay where they are; new ones are adjusted like those of any map, with edges where frames have kept
    their events, though these are measured only once: the refinement does it again. Keyframes that see the same place,
    however late, hold them.

    Args:
        map_: changed in place. Nothing is added before a given map.
        frames: tracked points, in the order of time; those before the first keyframe count. May be compact.
        imager: makes edge images.
        config: limits.
    """
    early = [frame for frame in frames if frame.t_us < map_.keyframes[0].t_us]
    if map_.num_given or not early:
        return
    count, stretch, revisits = len(map_.keyframes), map_.stretch, map_.revisits
    map_.keyframes.reverse()
    map_.num_given, map_.stretch, map_.revisits = count, map_.keyframes[-1].stretch, []
    once = replace(config, link=replace(config.link, resweep=(0,)))
    _follow_back(map_, early, imager, once)
    map_.keyframes.reverse()
    added = len(map_.keyframes) - count
    map_.num_given, map_.stretch = 0, stretch
    map_.revisits = [(old + added, new + added) for old, new in revisits]


def _follow_back(map_: SparseMap, frames: list[PointFrame], imager: EdgeImager, config: Config) -> None:
    """Frames, the last first, are placed, and some become keyframes."""
    focal, limits = imager.canvas.focal, config.keyframe
    last, failures, since, inliers = map_.keyframes[-1].T_cam_world, 0, 0, map_.num_seen()
    for frame in map(whole, frames[::-1]):
        pose = pose_from_points(frame, [last], map_, focal, config.pose)
        if pose is None:
            failures += 1
            if failures > config.pose.max_failures:
                break
            continue
        last, failures, since = pose.T_cam_world, 0, since + 1
        ready = since >= limits.min_frames * (_RARER if frame.votes is not None else _WITHOUT_IMAGE)
        if ready and leaves_keyframe(frame, pose, map_.keyframes[-1], inliers, focal, limits):
            newest = map_.add_keyframe(frame, last, pose.is_inlier(len(frame.ids), config.pose.inlier_px))
            newest.look = look_of(frame.signed, imager.canvas, config)
            if frame.votes is not None:
                newest.image = imager.of_votes(frame.votes.astype(np.float32), 0, frame.hidden)
            grow(map_, imager, config)
            last, since, inliers = map_.keyframes[-1].T_cam_world, 0, map_.num_seen()
