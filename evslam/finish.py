"""What a run writes at its end: final trajectory, map, pictures, and the figures that belong to them."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.backend.closure import revisits
from evslam.backend.rotation_trajectory import RotationTrajectory
from evslam.config import Config
from evslam.geometry.canvas import Canvas
from evslam.geometry.trajectory import camera_poses
from evslam.inertial.alignment import InertialEstimate, align_inertially
from evslam.inertial.signal import InertialSignal
from evslam.inertial.world import MetricWorld
from evslam.map_file import MAP_FILE, save_map
from evslam.multiview.sparse_map import SparseMap
from evslam.odometry import Odometry
from evslam.outputs import RunWriter, write_panorama, write_points
from evslam.reconstruction import Refinement, final_poses, map_points, refine
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


def finish_spatial(
    slam: SpatialSlam, config: Config, writer: RunWriter, imu: InertialSignal | None = None
) -> dict[str, Any]:
    """Refine, if configured, write trajectory, keyframes and map of a free motion; returns figures for metrics.json.

    With an IMU that tells the scale, all are in metres and gravity points along -z.
    """
    online, odometry, imager = writer.online(), slam.odometry, slam.odometry.mapper.imager
    placed, refined = list[Trajectory](), list[Refinement]()
    segments = _of_one_world(join_by_places(odometry.all_segments(), slam.canvas, config))
    for segment in segments:
        if config.refine.use:
            refined.append(refine(segment.map, segment.frames, imager, config))
            placed.append(_in_order(*final_poses(segment.map, segment.frames, imager, config)))
    figures: dict[str, Any] = {"map_points": 0, "keyframes": 0, "start_by": "events" if imu is None else "gyro"}
    figures |= _told_by(odometry, refined)
    final, latency_ms = _joined(placed) if placed else online, None
    if imu is not None:
        estimate = _inertial(max(placed, key=len, default=online), imu, config)
        figures["imu"], latency_ms = estimate.figures(), _latency_ms(estimate, config)
        final = _in_metres(final, segments, estimate)
    writer.write_final(final, latency_ms)
    if not segments:
        return figures
    if placed:
        figures["placed_percent"] = 100 * len(final) / max(odometry.num_frames, 1)
    keyframes = [each for segment in segments for each in segment.map.keyframes[segment.map.num_given :]]
    poses = np.array([keyframe.T_cam_world for keyframe in keyframes]).reshape(-1, 4, 4)
    key_us = np.array([keyframe.t_us for keyframe in keyframes], np.int64)
    writer.write_keyframes(_in_order(key_us, poses), latency_ms)
    num_points = _write_maps([segment.map for segment in segments], slam.canvas, writer, config)
    return figures | {"map_points": num_points, "keyframes": len(keyframes)}


def _told_by(odometry: Odometry, refined: list[Refinement]) -> dict[str, Any]:
    """What tracking and refinement count."""
    atlas, online = odometry.atlas, odometry.mapper.closer.closed
    num_online = sum(each.num_loops for each in online)
    return {
        "starts": odometry.num_starts,
        "start_attempts": odometry.starting.num_attempts,
        "waiting_for": odometry.waiting_for,
        "relocalisations": atlas.num_returns,
        "searches": atlas.relocaliser.num_attempts,
        "loops": num_online + sum(each.loops_closed for each in refined),
        "loops_found": num_online + sum(each.loops_found for each in refined),
        "refinements": [each.figures() for each in refined],
        "loops_online": [asdict(each) for each in online],
    }


def _write_maps(maps: list[SparseMap], canvas: Canvas, writer: RunWriter, config: Config) -> int:
    """The largest map to go on with, the points of all, and a picture of the last; returns the number of points."""
    points = [map_points(each, canvas) for each in maps]
    whole = PointMap(
        *(np.concatenate(parts) for parts in zip(*((p.points, p.confidence) for p in points), strict=True))
    )
    save_map(max(maps, key=lambda each: len(each.keyframes)), canvas, writer.folder / MAP_FILE)
    _picture(maps[-1], writer)
    return write_points(writer.folder, _thinned(whole, config.map.max_points))


def _of_one_world(segments: list[Segment]) -> list[Segment]:
    """Where a map was given, only what was found in it; the other maps have a world of their own."""
    return [segment for segment in segments if segment.map.num_given] or segments


def _inertial(trajectory: Trajectory, imu: InertialSignal, config: Config) -> InertialEstimate:
    """What the IMU tells of a trajectory, logged."""
    estimate = align_inertially(trajectory, imu, config.inertial, config.gyro.min_spread)
    if estimate.is_sure and estimate.fit is not None:
        scale, sigma = 1 / estimate.fit.inverse_scale, 100 * estimate.scale_sigma
        log.info("by the IMU, the map's unit is %.4g m within %.1f %%: written in metres, z up", scale, sigma)
    else:
        log.warning("the IMU does not tell metres: %s; the map keeps its own unit", estimate.reason)
    return estimate


def _in_metres(final: Trajectory, segments: list[Segment], estimate: InertialEstimate) -> Trajectory:
    """The trajectory, and with it the maps, moved into metres with gravity along -z, where the estimate is sure.

    What was found in a given map stays in its frame.
    """
    if not estimate.is_sure or estimate.fit is None or any(segment.map.num_given for segment in segments):
        return final
    world = MetricWorld.of(estimate.fit, Rotation.from_quat(final.quaternion[0]).as_matrix())
    for segment in segments:
        world.move(segment.map)
    return world.trajectory(final)


def _latency_ms(estimate: InertialEstimate, config: Config) -> float | None:
    """The latency of the events; a larger difference is one of the clocks, and the time of the events stays."""
    offset_ms = 1000 * estimate.offset_s
    if estimate.gyro_bias is None or offset_ms == 0 or abs(offset_ms) > config.gyro.max_latency_ms:
        return None
    log.info("by the gyroscope, events are %.2f ms late: taken off the final trajectory", offset_ms)
    return offset_ms


def _joined(trajectories: list[Trajectory]) -> Trajectory:
    """By time; where two place the same moment, the first counts."""
    t_us, first = np.unique(np.concatenate([each.t_us for each in trajectories]), return_index=True)
    return Trajectory(t_us, np.concatenate([each.poses for each in trajectories])[first])


def _in_order(t_us: np.ndarray, T_cam_world: np.ndarray) -> Trajectory:
    """Poses by time; where two maps place the same moment, the first counts."""
    return _joined([Trajectory(t_us, camera_poses(T_cam_world))])


def _thinned(points: PointMap, most: int) -> PointMap:
    """The most confident points."""
    order = np.argsort(-points.confidence, kind="stable")[:most]
    return PointMap(points.points[order], points.confidence[order])


def _picture(map_: SparseMap, writer: RunWriter) -> None:
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
