"""Stretches of a recording that have a map of their own: how they begin, are put away, and are picked up again."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from evslam.backend.loop_match import match_views
from evslam.backend.place_search import PlaceIndex, SearchSettings
from evslam.backend.places import View, view_of
from evslam.beside import two_at_a_time
from evslam.config import Config
from evslam.geometry.canvas import Canvas
from evslam.geometry.similarity import Similarity
from evslam.multiview.keyframe import Keyframe
from evslam.multiview.sparse_map import SparseMap
from evslam.tracking.bootstrap import Start
from evslam.tracking.point_pose import PointPose
from evslam.types import PointFrame

_MIN_COMMON = 10  # points that tell the scale between two maps
_STEP = 2  # keyframes, from one that is compared with another map to the next
_MAX_APART = 0.1  # between two similarities, in depths, rad and logarithm of scale, that say the same


@dataclass(frozen=True)
class Segment:
    """A stretch of the recording with a map of its own.

    Attributes:
        map: keyframes, landmarks, edges.
        frames: from the first attempt to start to the end; of this recording alone.
        unsure: the last of them as they were tracked, with what followed something else than the map.
    """

    map: SparseMap
    frames: list[PointFrame]
    unsure: list[PointFrame] = field(default_factory=list)

    def tracked(self) -> list[PointFrame]:
        """The frames as they were tracked."""
        return self.frames[: len(self.frames) - len(self.unsure)] + self.unsure


def placed_start(start: Start, origin: np.ndarray, segments: list[Segment]) -> tuple[np.ndarray, np.ndarray]:
    """Points (P, 3) and poses (C, 4, 4) of a start, moved and scaled into the world.

    Args:
        start: of a new map.
        origin: (4, 4) pose of its first camera: where the last map was lost.
        segments: put away before; the median depth is as it was at the end of the last one, 1 without any.
    """
    depth = segments[-1].map.median_depth(-1) if segments else 1.0
    scale = depth / float(np.median(start.points[start.good, 2]))
    T_world_start = np.linalg.inv(origin)
    poses = start.T_cam_world.copy()
    poses[:, :3, 3] *= scale
    points = scale * start.points @ T_world_start[:3, :3].T + T_world_start[:3, 3]
    return points, poses @ origin


def without_known(frame: PointFrame, map_: SparseMap) -> PointFrame:
    """A frame without the tracks that a map knows: they have turned out to follow something else there."""
    return frame.only(map_.landmarks(frame.ids) < 0)


def join_maps(old: SparseMap, new: SparseMap, in_old: PointPose, in_new: PointPose) -> bool:
    """Append a map to an older one, moved and scaled so that a frame which is known in both has one place.

    Args:
        old: changed in place; it has other tracks than the new one.
        new: becomes part of the old one.
        in_old, in_new: pose of the frame in either map.

    Returns:
        False, with nothing done, if the frame has too few points with a landmark in both maps, or if the new map was
        given and has to stay where it is.
    """
    _, mine, other = np.intersect1d(in_old.rows, in_new.rows, assume_unique=True, return_indices=True)
    depth, new_depth = _depths(in_old)[mine], _depths(in_new)[other]
    good = (depth > 0) & (new_depth > 0)
    if good.sum() < _MIN_COMMON or new.num_given:
        return False
    scale = float(np.median(depth[good] / new_depth[good]))
    grown = Similarity(np.eye(3)[None], np.zeros((1, 3)), np.array([scale]))
    new.move(_placed(in_old.T_cam_world) @ grown @ _placed(in_new.T_cam_world).inverse())
    old.append(new)
    return True


def join_by_places(segments: list[Segment], canvas: Canvas, config: Config) -> list[Segment]:
    """Segments whose keyframes show the same places become one, in the world of the earlier one.

    Args:
        segments: in the order of time. A given map counts as the earliest. Their maps are changed in place.
        canvas: image plane.
        config: resolved configuration.
    """
    joined: list[Segment] = []
    for segment in sorted(segments, key=lambda each: not each.map.num_given):
        for number, earlier in enumerate(joined):
            old_from_new = _common_place(earlier.map, segment.map, canvas, config)
            if old_from_new is not None:
                segment.map.move(old_from_new)
                earlier.map.append(segment.map)
                frames = sorted(earlier.frames + segment.frames, key=lambda frame: frame.t_us)
                joined[number] = Segment(earlier.map, frames)
                break
        else:
            joined.append(segment)
    return joined


def _common_place(old: SparseMap, new: SparseMap, canvas: Canvas, config: Config) -> Similarity | None:
    """The similarity from the new map's world to the old one's that two keyframes of the new map agree on."""
    index, told = PlaceIndex(old, canvas, SearchSettings.of(config)), list[Similarity]()

    def look(number: int) -> tuple[float, Similarity] | None:
        view = view_of(new, number, canvas, config.places)
        matched = None if view is None else _matched(index, new.keyframes[number], view, config)
        return None if view is None or matched is None else (float(np.median(view.points[:, 2])), matched)

    for first in range(0, len(new.keyframes), 2 * _STEP):
        numbers = range(first, min(first + 2 * _STEP, len(new.keyframes)), _STEP)
        for number, found in zip(numbers, two_at_a_time(look, numbers), strict=True):
            if found is None:
                continue
            (depth, matched), T_new_cam = found, _placed(new.keyframes[number].T_cam_world)
            for earlier in told:
                error = ((earlier @ T_new_cam).inverse() @ matched).chart()[0] / np.repeat((depth, 1.0), (3, 4))
                if np.linalg.norm(error) < _MAX_APART:
                    return matched @ T_new_cam.inverse()
            told.append(matched @ T_new_cam.inverse())
    return None


def _matched(index: PlaceIndex, keyframe: Keyframe, view: View, config: Config) -> Similarity | None:
    """The similarity from a keyframe's camera frame to the world of an indexed map."""
    if keyframe.look is None or not len(view.descriptor):
        return None
    for candidate in index.alike(keyframe.look):
        other = index.view(candidate)
        match = None if other is None else match_views(other, view, index.canvas.focal, config.loop)
        if match is not None:
            return _placed(index.map.keyframes[candidate].T_cam_world) @ match.new_from_old.inverse()
    return None


def _placed(T_cam_world: np.ndarray) -> Similarity:
    """A camera's T_world_cam."""
    return Similarity.of_poses(np.linalg.inv(T_cam_world)[None])


def _depths(pose: PointPose) -> np.ndarray:
    return np.asarray(pose.seen.points @ pose.T_cam_world[2, :3] + pose.T_cam_world[2, 3])
