"""How true is the depth of edges, and what does it cost? Edge sweeps of simulated recordings with true poses.

    python -m evslam.eval.bench.depth RECORDING... [--views 15]

A keyframe at each depth map; its neighbours lie so far apart that the image moves by a few pixels between them.
Printed for each recording: median relative error and share within 5 % of the true depth (best of the pixel and its
neighbours two pixels away: an edge lies on the border of two depths), points per keyframe, the same for the points
chosen for bundle adjustment, error over its estimated standard deviation (median of the absolute value; .67 is right),
milliseconds, and the alignment of a neighbour's pose to the map from a start `--off` pixels away.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from evslam.config import Config, load_config
from evslam.geometry.canvas import Canvas
from evslam.geometry.trajectory import interpolate
from evslam.io.depth import load_depth
from evslam.io.recording import DEPTH_FILE, open_recording
from evslam.mapping.edge_alignment import align_edges
from evslam.mapping.edge_image import EdgeImager, inverse_depth_grid
from evslam.mapping.edge_match import match_edges
from evslam.mapping.edge_sweep import spread, sweep_edges, sweep_range
from evslam.multiview.edges import EdgeImage, EdgePoints
from evslam.provenance import versions
from evslam.types import Events

WINDOW_S, LATENCY_US, STEP_US = 0.03, 2000, 5000
KEYFRAME_PX = 12.0  # median image motion between neighbouring views
NEAR = ((0, 0), (2, 0), (-2, 0), (0, 2), (0, -2))


class Scene:
    """A simulated recording with true poses and depths."""

    def __init__(self, path: Path, config: Config) -> None:
        frame, self.config = config.frame, config
        recording = open_recording(path)
        if recording.groundtruth is None:
            raise SystemExit(f"{path}: no ground truth")
        self.reader, self.truth, camera = recording.reader, recording.groundtruth, recording.require_camera()
        self.canvas = Canvas.of(camera, frame.canvas_width, frame.canvas_margin)
        self.imager = EdgeImager(self.canvas, self.config.edges)
        self.bearing = camera.bearing_table(torch.float32)[0].numpy()
        self.t_us, self.maps = load_depth(recording.folder / DEPTH_FILE)

    def T_world_cam(self, t_us: int) -> np.ndarray:
        """(4, 4) pose that events stamped t_us tell of."""
        pose = interpolate(self.truth, [max(t_us - LATENCY_US, int(self.truth.t_us[0]))])[0]
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = Rotation.from_quat(pose[3:]).as_matrix(), pose[:3]
        return matrix

    def depth(self, k: int, pixel: np.ndarray) -> np.ndarray:
        """(N,) metres of depth map k at canvas pixels (N, 2); infinity outside."""
        column, row = np.rint(pixel).astype(int).T
        inside = (column >= 0) & (column < self.canvas.width) & (row >= 0) & (row < self.canvas.height)
        cell = np.zeros((len(pixel), 2), int)
        cell[inside] = np.rint(self.canvas.sensor_cell[row[inside], column[inside]])
        height, width = self.maps[k].shape
        inside &= (cell >= 0).all(1) & (cell[:, 0] < width) & (cell[:, 1] < height)
        value = np.full(len(pixel), np.inf)
        value[inside] = self.maps[k][cell[inside, 1], cell[inside, 0]]
        return value

    def image(self, t_us: int, world: np.ndarray) -> tuple[EdgeImage, float]:
        """Edge image at a time and its milliseconds; world (M, 3): points seen nearby, for motion compensation."""
        half = round(WINDOW_S / 2 * 1e6)
        chunks: list[Events] = list(self.reader.read(t_us - half, t_us + half, 1 << 20))
        t = np.concatenate([(each.t - t_us) * 1e-6 for each in chunks]).astype(np.float32)
        place = np.concatenate([self.bearing[each.y, each.x] for each in chunks])
        known = np.isfinite(place).all(1)
        here, there = self.T_world_cam(t_us), self.T_world_cam(t_us + 5000)
        motion = np.linalg.inv(here) @ there
        twist = np.concatenate([motion[:3, 3], Rotation.from_matrix(motion[:3, :3]).as_rotvec()]) / 0.005
        clock = time.perf_counter()
        pixel, inverse = self.project(world, t_us)
        image = self.imager.with_twist(place[known], t[known], twist, inverse_depth_grid(self.canvas, pixel, inverse))
        return image, 1e3 * (time.perf_counter() - clock)

    def project(self, world: np.ndarray, t_us: int) -> tuple[np.ndarray, np.ndarray]:
        """Canvas pixels (M, 2) and inverse depths (M,) of world points in front of the camera."""
        T = np.linalg.inv(self.T_world_cam(t_us))
        camera = world @ T[:3, :3].T + T[:3, 3]
        camera = camera[camera[:, 2] > 0.05]
        return self.canvas.pixels(camera[:, :2] / camera[:, 2:]), 1 / camera[:, 2]

    def sparse_points(self, k: int) -> np.ndarray:
        """(M, 3) world points of depth map k on a grid of 12 pixels: what tracked points would know."""
        y, x = np.meshgrid(np.arange(6, self.canvas.height, 12), np.arange(6, self.canvas.width, 12), indexing="ij")
        pixel = np.stack([x.ravel(), y.ravel()], 1).astype(float)
        depth = self.depth(k, pixel)
        known = np.isfinite(depth) & (depth > 0.05)
        T_world_cam = self.T_world_cam(int(self.t_us[k]) + LATENCY_US)
        return lifted(T_world_cam, self.canvas.bearings(pixel[known]), depth[known])


def lifted(T_world_cam: np.ndarray, bearing: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """World points (N, 3) that a camera (4, 4) sees at bearings (N, 2) and depths (N,)."""
    points = np.column_stack([bearing, np.ones(len(bearing))]) * depth[:, None]
    return np.asarray(points @ T_world_cam[:3, :3].T + T_world_cam[:3, 3])


def neighbours(scene: Scene, t_us: int, number: int, world: np.ndarray) -> list[int]:
    """Times of views before and after, between which the image moves by KEYFRAME_PX."""
    times = []
    first, last = int(scene.truth.t_us[0]) + 30000, int(scene.truth.t_us[-1]) - 30000
    for step in (-STEP_US, STEP_US):
        now, here = t_us, _projected(scene, world, t_us)
        taken = 0
        while taken < number // 2 and first <= now + step <= last:
            now += step
            there = _projected(scene, world, now)
            if np.nanmedian(np.linalg.norm(there - here, axis=1)) >= KEYFRAME_PX:
                times.append(now)
                here, taken = there, taken + 1
    return times


def _projected(scene: Scene, world: np.ndarray, t_us: int) -> np.ndarray:
    T = np.linalg.inv(scene.T_world_cam(t_us))
    camera = world @ T[:3, :3].T + T[:3, 3]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(camera[:, 2:] > 0.05, scene.canvas.pixels(camera[:, :2] / camera[:, 2:]), np.nan)


def depth_errors(scene: Scene, k: int, points: EdgePoints) -> tuple[np.ndarray, np.ndarray]:
    """Relative error of the inverse depth and error over its standard deviation, where the truth is known."""
    around = np.stack([scene.depth(k, points.pixel + np.array(offset)) for offset in NEAR], 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = points.inverse_depth[:, None] * around - 1
        best = np.take_along_axis(error, np.argmin(np.where(np.isfinite(error), abs(error), np.inf), 1)[:, None], 1)[
            :, 0
        ]
    known = np.isfinite(best)
    return best[known], (best * points.inverse_depth / (1 + best) / points.sigma)[known]


def alignment_error(scene: Scene, target: EdgeImage, T: np.ndarray, points: np.ndarray, off: np.ndarray) -> list[float]:
    """Median pixels between where the aligned and the true pose see the points, start error and milliseconds."""
    start = T.copy()
    start[:3, 3] += off * np.median(points @ T[2, :3] + T[2, 3]) / scene.canvas.focal
    clock = time.perf_counter()
    result = align_edges(scene.imager, points, start, target)
    spent = 1e3 * (time.perf_counter() - clock)
    seen = []
    for pose in (T, start, result.T_cam_world):
        camera = points @ pose[:3, :3].T + pose[:3, 3]
        seen.append(scene.canvas.pixels(camera[:, :2] / camera[:, 2:]))
    return [float(np.median(np.linalg.norm(each - seen[0], axis=1))) for each in seen[1:]] + [spent]


def measure(path: Path, config: Config, views: int, off_px: float) -> dict[str, Any]:
    """The figures of a recording."""
    scene, rng = Scene(path, config), np.random.default_rng(0)
    edges = scene.config.edges
    rows: dict[str, list[Any]] = {name: [] for name in ("error", "normal", "chosen", "count", "few", "align", "match")}
    spent: dict[str, list[float]] = {"image": [], "sweep": [], "match": []}
    for k in range(len(scene.t_us)):
        t_us, world = int(scene.t_us[k]) + LATENCY_US, scene.sparse_points(k)
        times = neighbours(scene, t_us, views, world) if len(world) > 20 else []
        if len(times) < edges.min_views or not times or t_us + 20000 > scene.truth.t_us[-1] or t_us < 20000:
            continue
        images = []
        for each in [t_us, *times]:
            image, ms = scene.image(each, world)
            images.append(image)
            spent["image"].append(ms)
        T = [np.linalg.inv(scene.T_world_cam(each)) @ scene.T_world_cam(t_us) for each in times]
        limits = sweep_range(scene.project(world, t_us)[1], edges.range_factor)
        clock = time.perf_counter()
        points = sweep_edges(scene.imager, images[0], images[1:], np.stack(T), limits)
        spent["sweep"].append(1e3 * (time.perf_counter() - clock))
        few = spread(points, edges.cell_px, edges.max_points)
        rows["count"].append(len(points))
        rows["few"].append(len(few))
        if len(points) < edges.min_views:
            continue
        for name, value in zip(("error", "normal"), depth_errors(scene, k, points), strict=True):
            rows[name].extend(value)
        rows["chosen"].extend(depth_errors(scene, k, few)[0])
        near = int(np.argmin(np.abs(np.array(times) - t_us)))
        angle = rng.uniform(0, 2 * np.pi)
        off = off_px * np.array([np.cos(angle), np.sin(angle), 0.0])
        rows["align"].append(alignment_error(scene, images[1 + near], T[near], points.points(scene.canvas), off))
        clock = time.perf_counter()
        match = match_edges(
            scene.imager, [few.lines(scene.canvas)], [images[1 + near]], [(0, 0)], T[near][None], edges.match_px
        )[0]
        spent["match"].append(1e3 * (time.perf_counter() - clock))
        apart = np.abs(match.offset[match.found])
        rows["match"].append((match.found.mean(), np.median(apart) if len(apart) else np.nan))
    return _summary(path, rows, spent)


def _summary(path: Path, rows: dict[str, list[Any]], spent: dict[str, list[float]]) -> dict[str, Any]:
    error, chosen, normal = (np.abs(rows[name]) for name in ("error", "chosen", "normal"))
    aligned = np.median(rows["align"], 0) if rows["align"] else [None] * 3
    return {
        "recording": path.name,
        "keyframes": len(rows["count"]),
        "points": float(np.median(rows["count"])),
        "median_error_%": round(100 * float(np.median(error)), 2),
        "within_5_%": round(100 * float(np.mean(error < 0.05)), 1),
        "chosen": float(np.median(rows["few"])),
        "chosen_median_error_%": round(100 * float(np.median(chosen)), 2),
        "chosen_within_5_%": round(100 * float(np.mean(chosen < 0.05)), 1),
        "error_over_sigma": [round(float(q), 2) for q in np.quantile(normal, [0.5, 0.68, 0.95])],
        "align_start_px": aligned[0],
        "align_end_px": aligned[1],
        "align_ms": aligned[2],
        "match_found_and_px": np.nanmedian(rows["match"], 0).round(3).tolist(),
        "ms": {name: round(float(np.median(value)), 2) for name, value in spent.items()},
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--views", type=int, default=15, help="of a keyframe, itself included")
    parser.add_argument("--off", type=float, default=3.0, help="pixels, start of the alignment")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the configuration")
    arguments = parser.parse_args()
    config = load_config(overrides=arguments.set)
    for path in arguments.recordings:
        print(json.dumps(measure(path, config, arguments.views, arguments.off)), flush=True)
    print(json.dumps({"commit": versions().get("commit")}))


if __name__ == "__main__":
    main()
