"""Frames before the first keyframe: the camera is followed back in time, while the map grows to where it came from."""

from __future__ import annotations

from copy import copy

from evslam.backend.window import adjust_window, choose_window
from evslam.config import Config
from evslam.geometry.canvas import Canvas
from evslam.mapping.landmarks import add_new_landmarks
from evslam.multiview.sparse_map import Keyframe, SparseMap
from evslam.tracking.point_pose import leaves_keyframe, pose_from_points
from evslam.types import PointFrame


def map_backwards(map_: SparseMap, frames: list[PointFrame], canvas: Canvas, config: Config) -> SparseMap:
    """A map that goes on before the first keyframe of another, as far as the points can be followed.

    It begins with the first keyframes of the other, which stay where they are, in reverse order; later ones are
    earlier in time and adjusted like those of any map, by points alone.

    Args:
        map_: is left as it is.
        frames: tracked points before its first keyframe, in the order of time.
        canvas: image plane.
        config: limits.
    """
    back = map_.snapshot()
    back.keyframes = [_copied(keyframe) for keyframe in map_.keyframes[config.window.keyframes - 1 :: -1]]
    held, focal = len(back.keyframes), canvas.focal
    last, failures, since, inliers = back.keyframes[-1].T_cam_world, 0, 0, back.num_seen()
    for frame in frames[::-1]:
        pose = pose_from_points(frame, [last], back, focal, config.pose)
        if pose is None:
            failures += 1
            if failures > config.pose.max_failures:
                break
            continue
        last, failures, since = pose.T_cam_world, 0, since + 1
        newest, limits = back.keyframes[-1], config.keyframe
        if since >= limits.min_frames and leaves_keyframe(frame, pose, newest, inliers, focal, limits):
            back.add_keyframe(frame, last, pose.is_inlier(len(frame.ids), config.pose.inlier_px))
            add_new_landmarks(back, canvas, config.landmark)
            free = range(max(len(back.keyframes) - config.window.keyframes, held), len(back.keyframes))
            adjust_window(back, choose_window(back, config.window, free), focal, config.window)
            last, since, inliers = back.keyframes[-1].T_cam_world, 0, back.num_seen()
    back.keyframes.reverse()
    return back


def _copied(keyframe: Keyframe) -> Keyframe:
    own = copy(keyframe)
    own.landmark, own.usable = keyframe.landmark.copy(), keyframe.usable.copy()
    return own
