"""What a run writes at its end: final trajectory, map, pictures, and the figures that belong to them."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np

from evslam.backend.closure import revisits
from evslam.backend.rotation_trajectory import RotationTrajectory
from evslam.config import Config
from evslam.geometry.trajectory import camera_poses
from evslam.map_file import MAP_FILE, save_map
from evslam.multiview.sparse_map import SparseMap
from evslam.outputs import RunWriter, write_panorama, write_points
from evslam.reconstruction import final_poses, map_points, refine
from evslam.segments import Segment, join_by_places
from evslam.slam import RotationSlam, SpatialSlam
from evslam.types import PointMap, Trajectory
from evslam.viz.images import save_keyframe

log = logging.getLogger(__name__)


def finish_rotation(slam: RotationSlam, config: Config, writer: RunWriter) -> dict[str, Any]:
    """Refine, if configured, and write trajectory, panorama and map of a rotation; returns figures for metrics.json."""
    online, trajectory = writer.online(), slam.panoramic.trajectory
    figures: dict[str, Any] = {"map_points": 0, "keyframes": 0}
    if trajectory is None:
        writer.write_final(online, None)
        return figures
    if config.adjust.refine:
        trajectory.refine()
    figures |= _judge(slam, trajectory, config)
    final = Trajectory(online.t_us, trajectory.poses(online.t_us)) if len(online) else online
    writer.write_final(final, figures["latency_ms"])
    panorama = trajectory.panorama(config.map.panorama_width)
    return figures | {"map_points": write_panorama(writer.folder, panorama, config.map.max_points)}


def finish_spatial(slam: SpatialSlam, config: Config, writer: RunWriter) -> dict[str, Any]:
    """Refine, if configured, write trajectory, keyframes and map of a free motion; returns figures for metrics.json."""
    online, odometry = writer.online(), slam.odometry
    times, poses, key_times, key_poses, points = [], [], [], [], []
    closures, segments = [], _of_one_world(join_by_places(odometry.all_segments(), slam.canvas, config))
    for segment in segments:
        if config.refine.use:
            closures.append(refine(segment.map, odometry.mapper.imager, config))
            t_us, T_cam_world = final_poses(segment.map, segment.frames, odometry.focal, config)
            times.append(t_us)
            poses.append(T_cam_world)
        own = segment.map.keyframes[segment.map.num_given :]
        key_times += [keyframe.t_us for keyframe in own]
        key_poses += [keyframe.T_cam_world for keyframe in own]
        points.append(map_points(segment.map, slam.canvas))
    figures: dict[str, Any] = {"map_points": 0, "keyframes": len(key_times), "starts": odometry.num_starts}
    figures |= {"start_attempts": odometry.num_attempts, "waiting_for": odometry.waiting_for}
    figures |= {"relocalisations": odometry.num_returns, "searches": odometry.relocaliser.num_attempts}
    figures |= {"loops": sum(each.closed for each in closures), "loops_found": sum(each.found for each in closures)}
    if not times:
        writer.write_final(online, None)
    if not segments:
        return figures
    if times:
        final = _in_order(np.concatenate(times), np.concatenate(poses))
        writer.write_final(final, None)
        figures["placed_percent"] = 100 * len(final) / max(odometry.num_frames, 1)
    writer.write_keyframes(_in_order(np.array(key_times, np.int64), np.array(key_poses).reshape(-1, 4, 4)))
    whole = PointMap(
        *(np.concatenate(parts) for parts in zip(*((p.points, p.confidence) for p in points), strict=True))
    )
    largest = max(segments, key=lambda segment: len(segment.map.keyframes)).map
    save_map(largest, slam.canvas, writer.folder / MAP_FILE)
    _picture(segments[-1].map, slam, writer)
    return figures | {"map_points": write_points(writer.folder, _thinned(whole, config.map.max_points))}


def _of_one_world(segments: list[Segment]) -> list[Segment]:
    """Where a map was given, only what was found in it; the other maps have a world of their own."""
    return [segment for segment in segments if segment.map.num_given] or segments


def _in_order(t_us: np.ndarray, T_cam_world: np.ndarray) -> Trajectory:
    """Poses by time; where two maps place the same moment, the first counts."""
    t_us, first = np.unique(t_us, return_index=True)
    return Trajectory(t_us, camera_poses(T_cam_world[first]))


def _thinned(points: PointMap, most: int) -> PointMap:
    """The most confident points."""
    order = np.argsort(-points.confidence, kind="stable")[:most]
    return PointMap(points.points[order], points.confidence[order])


def _picture(map_: SparseMap, slam: SpatialSlam, writer: RunWriter) -> None:
    """images/keyframe.png: the keyframe with most edges, coloured by their depth."""
    edges = [0 if keyframe.edges is None else len(keyframe.edges) for keyframe in map_.keyframes]
    best = map_.keyframes[int(np.argmax(edges))]
    if best.edges is not None and best.image is not None and len(best.edges):
        path = writer.folder / "images" / "keyframe.png"
        save_keyframe(best.image.strength, best.edges.pixel, 1 / best.edges.inverse_depth, path)


def _judge(slam: RotationSlam, trajectory: RotationTrajectory, config: Config) -> dict[str, Any]:
    """What a finished rotation tells about itself: whether it closes, and by a gyroscope, how late the events are."""
    pairs = revisits(trajectory, config.relocalise)
    errors = [each.error_deg for each in pairs]
    closure: dict[str, Any] = {"pairs": len(pairs), "rms_deg": None, "max_deg": None}
    if errors:
        closure |= {"rms_deg": math.sqrt(sum(e * e for e in errors) / len(errors)), "max_deg": max(errors)}
    figures: dict[str, Any] = {"closure": closure, "latency_ms": config.sensor.latency_ms}
    if slam.gyro is not None:
        latency_s = slam.gyro.latency(trajectory.omega, trajectory.times_us(10_000))
        figures["gyro_bias"] = slam.gyro.bias.tolist()
        if latency_s is not None:
            figures["latency_ms"] = 1000 * latency_s
            log.info("by the gyroscope, events are %.2f ms late: taken off the final trajectory", 1000 * latency_s)
    return figures
