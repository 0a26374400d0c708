"""Tracks of a still scene and of a box that moves before it, with what is true known."""

from __future__ import annotations

from collections.abc import Callable

import map_scenes as scene
import numpy as np

from evslam.types import PointFrame

BOX = 10_000  # numbers of the box's tracks begin here
Place = Callable[[float], np.ndarray]  # offset (3,) of the box at a time in seconds


def to_and_fro(seconds: float) -> np.ndarray:
    """Half a unit to both sides, as fast as the camera or faster."""
    return np.array([0.1 * np.sin(2 * seconds), 0.35 * np.cos(1.7 * seconds), 0.1 * np.sin(1.1 * seconds)])


def at_rest(seconds: float) -> np.ndarray:
    """Where it begins, all the time."""
    return to_and_fro(0.0)


def box(number: int = 60, seed: int = 5) -> np.ndarray:
    """Points (N, 3) of a box around a place 1.4 ahead."""
    rng = np.random.default_rng(seed)
    return np.array([0.0, 0.0, 1.4]) + rng.uniform(-1, 1, (number, 3)) * (0.2, 0.2, 0.1)


def frames(seconds: float, place: Place = to_and_fro, noise_px: float = 0.2) -> tuple[list[PointFrame], np.ndarray]:
    """Point frames and true poses T_cam_world (N, 4, 4): a room far away, and the box, all of whose tracks last."""
    t_us, poses = scene.hand_motion(seconds)
    room = scene.room() * (1.6, 1.6, 1.6)
    rng, found = np.random.default_rng(9), []
    for background, pose in zip(scene.point_tracks(t_us, poses, room, noise_px), poses, strict=True):
        bearing = scene.project(pose, box() + place(background.t_us * 1e-6))
        bearing += rng.normal(0, noise_px / scene.FOCAL, bearing.shape)
        seen = np.flatnonzero((np.abs(bearing) < (0.55, 0.42)).all(1))
        ids = np.concatenate([background.ids, BOX + seen])
        found.append(PointFrame(background.t_us, ids, np.concatenate([background.bearing, bearing[seen]])))
    return found, poses
