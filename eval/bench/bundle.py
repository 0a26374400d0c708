"""Speed of bundle adjustment of a window and of a pose fit, on one core, on synthetic scenes; prints JSON.

    python -m evslam.eval.bench.bundle

The window: 25 free and 25 fixed cameras on a path of 5 m, points each seen by about 10 neighbouring cameras, edge
points seen across by about 6, noise of 0.3 pixels, starts off by 2 mm and 2 mrad (cameras) and 2 cm (points). The pose:
150 points and 600 edge points, 5 iterations, from 10 mm and 10 mrad away.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.eval.bench.binning import machine
from evslam.multiview.bundle import BundleProblem, BundleSettings, adjust
from evslam.multiview.observations import Observations
from evslam.multiview.pose import PoseSettings, estimate_pose
from evslam.provenance import versions

FOCAL, NOISE_PX, SCALE_PX = 250.0, 0.3, 1.2
VIEWS, FIXED = 50, 25


def moved(T_cam_world: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Poses (C, 4, 4) with noise of sigma radians and metres."""
    turn = np.tile(np.eye(4), (len(T_cam_world), 1, 1))
    turn[:, :3, :3] = Rotation.from_rotvec(rng.normal(0, sigma, (len(turn), 3))).as_matrix()
    turn[:, :3, 3] = rng.normal(0, sigma, (len(turn), 3))
    return np.asarray(turn @ T_cam_world)


def window(num_points: int, num_edges: int, rng: np.random.Generator) -> BundleProblem:
    """A camera that moves sideways, 0.1 m from view to view, past points 2 to 5 m away."""
    poses = np.tile(np.eye(4), (VIEWS, 1, 1))
    poses[:, 0, 3] = -0.1 * np.arange(VIEWS)
    total = num_points + num_edges
    length = np.where(np.arange(total) < num_points, 10, 6)
    first = np.maximum(rng.integers(-length + 3, VIEWS - 2), 0)
    last = np.minimum(first + length, VIEWS)
    depth = rng.uniform(2, 5, total)
    centre = 0.05 * (first + last - 1)
    points = np.column_stack(
        [centre + rng.uniform(-0.3, 0.3, total) * depth, rng.uniform(-0.3, 0.3, total) * depth, depth]
    )
    point = np.repeat(np.arange(total), last - first)
    view = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
    seen = np.einsum("nij,nj->ni", poses[view, :3, :3], points[point]) + poses[view, :3, 3]
    bearing = seen[:, :2] / seen[:, 2:] + rng.normal(0, NOISE_PX / FOCAL, (len(view), 2))
    angle = rng.uniform(0, np.pi, total)[point]
    normal = np.stack([np.cos(angle), np.sin(angle)], 1) * (point >= num_points)[:, None]
    observations = replace(Observations.of_points(view, point, bearing), normal=normal)
    is_free = np.arange(VIEWS) >= FIXED
    start = np.where(is_free[:, None, None], moved(poses, 2e-3, rng), poses)
    return BundleProblem(start, is_free, points + rng.normal(0, 0.02, points.shape), observations, FOCAL)


def time_ms(step: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Median and interquartile range of the wall time."""
    step()  # compiles
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1e3)
    low, median, high = np.percentile(times, [25, 50, 75])
    return {"median_ms": round(median, 4), "iqr_ms": round(high - low, 4)}


def adjust_figures(num_points: int, num_edges: int, rounds: int) -> dict[str, Any]:
    """Time and course of the adjustment of a window."""
    problem = window(num_points, num_edges, np.random.default_rng(0))
    settings = BundleSettings(SCALE_PX, max_iterations=10, tolerance=1e-5)
    result = adjust(problem, settings)
    figures: dict[str, Any] = {"observations": len(problem.observations), "steps": len(result.history) - 1}
    figures |= {"status": result.status, "cost": round(result.cost, 4)}
    return figures | time_ms(lambda: adjust(problem, settings), rounds)


def pose_figures(rounds: int) -> dict[str, float]:
    """Time of a pose fit."""
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(-1, 1, (750, 2)), rng.uniform(2, 5, 750)])
    bearing = points[:, :2] / points[:, 2:] + rng.normal(0, NOISE_PX / FOCAL, (750, 2))
    angle = rng.uniform(0, np.pi, 750)
    normal = np.stack([np.cos(angle), np.sin(angle)], 1) * (np.arange(750) >= 150)[:, None]
    start, settings = moved(np.eye(4)[None], 0.01, rng)[0], PoseSettings(FOCAL, SCALE_PX, 5)
    weight = np.ones(750)
    return time_ms(lambda: estimate_pose(start, points, bearing, normal, weight, settings), 20 * rounds)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    figures = {
        "adjust, points": adjust_figures(300, 0, rounds),
        "adjust, points and edges": adjust_figures(300, 1500, rounds),
        "estimate_pose": pose_figures(rounds),
    }
    print(json.dumps({"figures": figures, "machine": machine(), "versions": versions()}, indent=2))


if __name__ == "__main__":
    main()
