"""Frames before the first keyframe: the camera is followed back in time, while the map grows to where it came from."""

from __future__ import annotations

import numpy as np

from evslam.config import Config
from evslam.frame_poses import whole
from evslam.growth import grow
from evslam.mapping.edge_image import EdgeImager
from evslam.multiview.sparse_map import SparseMap
from evslam.tracking.point_pose import leaves_keyframe, pose_from_points
from evslam.types import PointFrame

_WITHOUT_IMAGE = 2  # keyframes are that much rarer at frames that have kept no events


def map_backwards(map_: SparseMap, frames: list[PointFrame], imager: EdgeImager, config: Config) -> SparseMap:
    """A map that goes on before the first keyframe of another, as far as the points can be followed.

    It begins with the keyframes of the other, which stay where they are, in reverse order; later ones are earlier in
    time and adjusted like those of any map, with edges where frames have kept their events. Keyframes of the other that
    see the same place, however late, hold them.

    Args:
        map_: finished; is left as it is.
        frames: tracked points before its first keyframe, in the order of time; may be compact.
        imager: makes edge images.
        config: limits.
    """
    back = map_.snapshot()
    back.keyframes = [keyframe.copy() for keyframe in map_.keyframes[::-1]]
    back.num_given, focal = len(back.keyframes), imager.canvas.focal
    last, failures, since, inliers = back.keyframes[-1].T_cam_world, 0, 0, back.num_seen()
    for frame in map(whole, frames[::-1]):
        pose = pose_from_points(frame, [last], back, focal, config.pose)
        if pose is None:
            failures += 1
            if failures > config.pose.max_failures:
                break
            continue
        last, failures, since = pose.T_cam_world, 0, since + 1
        newest, limits = back.keyframes[-1], config.keyframe
        ready = since >= limits.min_frames * (1 if frame.votes is not None else _WITHOUT_IMAGE)
        if ready and leaves_keyframe(frame, pose, newest, inliers, focal, limits):
            back.add_keyframe(frame, last, pose.is_inlier(len(frame.ids), config.pose.inlier_px))
            if frame.votes is not None:
                back.keyframes[-1].image = imager.of_votes(frame.votes.astype(np.float32), 0)
            grow(back, imager, config)
            last, since, inliers = back.keyframes[-1].T_cam_world, 0, back.num_seen()
    back.keyframes.reverse()
    back.num_given = 0  # those that stayed are the last ones now
    return back
