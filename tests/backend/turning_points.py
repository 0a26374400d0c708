"""Events of points at infinity that a turning camera sees, for the tests of the rotational back-end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from evslam.types import EventBatch

FOCAL, HALF_VIEW = 200.0, np.array([0.6, 0.45])
Motion = Callable[[np.ndarray], Rotation]


def sway(t: np.ndarray) -> Rotation:
    """A hand-held turn of some 30 degrees to and fro; the identity at zero."""
    angles = np.stack([0.15 * np.sin(3 * t), 0.5 * np.sin(1.7 * t), 0.2 * np.sin(2.3 * t)], 1)
    return Rotation.from_euler("xyz", angles)


def sky(count: int = 2500, seed: int = 0) -> np.ndarray:
    """Unit vectors (count, 3) all around."""
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1)[:, None])


def events(
    motion: Motion, start: float, stop: float, count: int, seed: int = 0, points: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Times (N,) sorted, and bearings (N, 2) on whole pixels, of random visible points at random times."""
    points, rng = sky() if points is None else points, np.random.default_rng(seed)
    t = np.sort(rng.uniform(start, stop, 12 * count))
    ray = motion(t).inv().apply(points[rng.integers(0, len(points), len(t))])
    bearing = np.round(FOCAL * ray[:, :2] / ray[:, 2:]) / FOCAL
    seen = np.flatnonzero((ray[:, 2] > 0.1) & (np.abs(bearing) <= HALF_VIEW).all(1))
    kept = np.sort(rng.choice(seen, min(count, len(seen)), replace=False))
    return t[kept], bearing[kept].astype(np.float32)


def batch(t: np.ndarray, bearing: np.ndarray, start_us: int, stop_us: int) -> EventBatch:
    t_ref_us = (start_us + stop_us) // 2
    seconds = torch.from_numpy((t - t_ref_us * 1e-6).astype(np.float32))
    polarity = torch.ones(len(t), dtype=torch.bool)
    return EventBatch(t_ref_us, start_us, stop_us, seconds, torch.from_numpy(bearing), polarity)


def batches(motion: Motion, stop: float, step_us: int = 20_000, count: int = 3000) -> Iterator[EventBatch]:
    """Batches that follow each other from zero."""
    for k, start_us in enumerate(range(0, round(stop * 1e6), step_us)):
        stop_us = start_us + step_us
        yield batch(*events(motion, start_us * 1e-6, stop_us * 1e-6, count, seed=k), start_us, stop_us)


def omega(motion: Motion, t: float, step: float = 1e-4) -> np.ndarray:
    """(3,) angular velocity in camera axes."""
    before, after = motion(np.array([t - step])), motion(np.array([t + step]))
    return np.asarray((before.inv() * after).as_rotvec()[0] / (2 * step))


def error_deg(truth: Rotation, estimate: Rotation) -> float:
    """RMS angle after the best constant rotation."""
    align = (truth * estimate.inv()).mean()
    return float(np.degrees(np.sqrt(np.mean((truth.inv() * align * estimate).magnitude() ** 2))))
