"""Maps of synthetic scenes: keyframes on an arc around a cloud of points, with what is true known."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.config import load_config
from evslam.geometry.camera import Camera
from evslam.geometry.canvas import Canvas
from evslam.multiview.sparse_map import SparseMap
from evslam.types import PointFrame, SensorSize

FOCAL = 200.0
CONFIG = load_config()
CAMERA = Camera(FOCAL, FOCAL, 119.5, 89.5, SensorSize(180, 240))
CANVAS = Canvas.of(CAMERA, CONFIG.frame.canvas_width, CONFIG.frame.canvas_margin)
STEP_US = 100_000


def cloud(number: int = 120, seed: int = 0) -> np.ndarray:
    """Points (N, 3) at depths of 2 to 5 in front of the arc."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(2, 5, number)
    return np.column_stack([rng.uniform(-0.5, 0.5, (number, 2)) * depth[:, None], depth])


def arc(number: int, length: float = 1.2) -> np.ndarray:
    """Poses T_cam_world (K, 4, 4) along a path of about that length, turning a little; the first is the identity."""
    s = np.linspace(0, 1, number)
    poses = np.tile(np.eye(4), (number, 1, 1))
    centre = np.stack([length * s, 0.1 * np.sin(3 * s), 0.15 * s**2], 1)
    poses[:, :3, :3] = Rotation.from_rotvec(np.stack([0.05 * np.sin(4 * s), 0.2 * s, 0.1 * s**2], 1)).as_matrix()
    poses[:, :3, 3] = -np.einsum("kij,kj->ki", poses[:, :3, :3], centre)
    return poses


def project(T_cam_world: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Bearings (N, 2) of points (N, 3)."""
    seen = points @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]
    return seen[:, :2] / seen[:, 2:]


def point_frame(
    t_us: int, T_cam_world: np.ndarray, points: np.ndarray, rng: np.random.Generator, noise_px: float
) -> PointFrame:
    """All points, numbered as they are, seen with noise."""
    noise = rng.normal(0, noise_px / FOCAL, (len(points), 2))
    return PointFrame(t_us, np.arange(len(points)), project(T_cam_world, points) + noise)


def true_map(num_keyframes: int, points: np.ndarray, noise_px: float = 0.3, seed: int = 0) -> SparseMap:
    """A map whose poses and landmarks are exact; landmark i belongs to track i, and every keyframe sees all."""
    rng, map_ = np.random.default_rng(seed), SparseMap()
    map_.add_landmarks(points, np.arange(len(points)))
    for number, pose in enumerate(arc(num_keyframes)):
        frame = point_frame(number * STEP_US, pose, points, rng, noise_px)
        map_.add_keyframe(frame, pose.copy(), np.ones(len(points), bool))
    return map_


def pose_error(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Distance of the centres and angle in degrees between two poses T_cam_world."""
    change = found @ np.linalg.inv(true)
    apart = np.linalg.inv(found)[:3, 3] - np.linalg.inv(true)[:3, 3]
    return float(np.linalg.norm(apart)), float(np.degrees(Rotation.from_matrix(change[:3, :3]).magnitude()))


def hand_motion(seconds: float, step_us: int = 10_000) -> tuple[np.ndarray, np.ndarray]:
    """Times (N,) and poses T_cam_world (N, 4, 4) of a camera that is swung about by hand; the first is the identity."""
    t_us = np.arange(0, round(seconds * 1e6), step_us)
    t = t_us * 1e-6
    centre = np.stack([0.5 * np.sin(1.6 * t), 0.25 * np.sin(2.3 * t), 0.2 * (1 - np.cos(1.1 * t))], 1)
    turn = np.stack([0.12 * np.sin(1.9 * t), 0.15 * np.sin(1.3 * t), 0.1 * np.sin(0.9 * t)], 1)
    poses = np.tile(np.eye(4), (len(t), 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(turn).as_matrix()
    poses[:, :3, 3] = -np.einsum("kij,kj->ki", poses[:, :3, :3], centre)
    return t_us, poses


def room(number: int = 400, seed: int = 3) -> np.ndarray:
    """Points (N, 3) all about, at depths of 1.5 to 5, more than a camera sees at a time."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(1.5, 5, number)
    return np.column_stack([rng.uniform(-0.9, 0.9, (number, 2)) * depth[:, None], depth])


def point_tracks(t_us: np.ndarray, poses: np.ndarray, points: np.ndarray, noise_px: float = 0.2) -> list[PointFrame]:
    """Tracks of the points in view; each lasts for a second or so, and a point that comes back gets a new number."""
    rng, number_of, next_id = np.random.default_rng(7), np.full(len(points), -1), 0
    frames = []
    for t, pose in zip(t_us.tolist(), poses, strict=True):
        depth = points @ pose[2, :3] + pose[2, 3]
        bearing = project(pose, points)
        seen = (depth > 0.2) & (np.abs(bearing) < (0.55, 0.42)).all(1)
        number_of[~seen | (rng.random(len(points)) < 0.01)] = -1
        new = np.flatnonzero(seen & (number_of < 0))
        number_of[new] = next_id + np.arange(len(new))
        next_id += len(new)
        order = np.argsort(number_of)[np.count_nonzero(number_of < 0) :]
        noisy = bearing[order] + rng.normal(0, noise_px / FOCAL, (len(order), 2))
        frames.append(PointFrame(t, number_of[order].astype(np.int64), noisy))
    return frames


def aligned_errors(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(N,) distances of the cameras' centres after the best similarity, as shares of the true path's length."""
    one, other = (np.linalg.inv(poses)[:, :3, 3] for poses in (found, true))
    a, b = one - one.mean(0), other - other.mean(0)
    turn, _ = Rotation.align_vectors(b, a)
    scale = np.sum(turn.apply(a) * b) / np.sum(a * a)
    length = np.linalg.norm(np.diff(other, axis=0), axis=1).sum()
    return np.linalg.norm(scale * turn.apply(a) - b, axis=1) / length
