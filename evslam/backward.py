"""Frames before the first keyframe: the camera is followed back in time, while the map grows to where it came from."""

from __future__ import annotations

from dataclasses import replace

from evslam.beside import at_once
from evslam.config import Config
from evslam.frame_poses import whole
from evslam.growth import grow, show
from evslam.mapping.edge_image import EdgeImager
from evslam.multiview.sparse_map import SparseMap
from evslam.relocaliser import Relocaliser
from evslam.tracking.point_pose import PointPose, leaves_keyframe, pose_from_points
from evslam.types import PointFrame

_RARER, _WITHOUT_IMAGE = 2, 4  # keyframes than online, and where frames have kept no events


def map_backwards(map_: SparseMap, frames: list[PointFrame], imager: EdgeImager, config: Config) -> None:
    """Let a map go on before its first keyframe, as far as the points can be followed or known places are in view.

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
    walk = _Walk(map_, imager, once)
    for frame in map(whole, early[::-1]):
        walk.add(frame)
    map_.keyframes.reverse()
    added = len(map_.keyframes) - count
    map_.num_given, map_.stretch = 0, max(stretch, map_.stretch)
    map_.revisits = [(old + added, new + added) for old, new in revisits]


class _Walk:
    """Frames, the last first, are placed by the tracks that the map knows, and some become keyframes. Where the points
    get lost, the camera is looked for in the map, as it is online after a loss."""

    def __init__(self, map_: SparseMap, imager: EdgeImager, config: Config) -> None:
        self.map, self.imager, self.config = map_, imager, config
        self.last, self.failures = map_.keyframes[-1].T_cam_world, 0
        self.since_keyframe, self.inliers_at_keyframe = 0, map_.num_seen()
        self.begun_us = map_.keyframes[-1].t_us
        self.search: Relocaliser | None = None  # where the points are lost

    def add(self, frame: PointFrame) -> None:
        """The frame before the last one."""
        is_lost = self.search is not None
        pose = self._look_for(frame) if is_lost else self._place(frame)
        if pose is None:
            return
        self.last, self.failures, self.since_keyframe = pose.T_cam_world, 0, self.since_keyframe + 1
        if is_lost or self._is_keyframe(frame, pose):
            self._add_keyframe(frame, pose)

    def _place(self, frame: PointFrame) -> PointPose | None:
        pose = pose_from_points(frame, [self.last], self.map, self.imager.canvas.focal, self.config.pose)
        if pose is None:
            self.failures += 1
            if self.failures > self.config.pose.max_failures:
                self.search = Relocaliser(self.config, self.imager, at_once)
                self.search.seek([self.map])
        return pose

    def _look_for(self, frame: PointFrame) -> PointPose | None:
        assert self.search is not None
        found = self.search.add(replace(frame, t_us=self.begun_us - frame.t_us), in_need=True)
        if found is None:
            return None
        found.links.apply(self.map)
        self.map.stretch += 1
        self.search = None
        return found.pose

    def _is_keyframe(self, frame: PointFrame, pose: PointPose) -> bool:
        limits, newest = self.config.keyframe, self.map.keyframes[-1]
        rarer = _RARER if frame.votes is not None else _WITHOUT_IMAGE
        if self.since_keyframe < limits.min_frames * rarer:
            return False
        return leaves_keyframe(frame, pose, newest, self.inliers_at_keyframe, self.imager.canvas.focal, limits)

    def _add_keyframe(self, frame: PointFrame, pose: PointPose) -> None:
        is_inlier = pose.is_inlier(len(frame.ids), self.config.pose.inlier_px)
        newest = self.map.add_keyframe(frame, pose.T_cam_world, is_inlier)
        show(newest, frame, self.imager, self.config)
        grow(self.map, self.imager, self.config)
        self.last, self.since_keyframe, self.inliers_at_keyframe = newest.T_cam_world, 0, self.map.num_seen()
