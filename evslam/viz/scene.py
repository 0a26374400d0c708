"""3-D pictures of a run: map, trajectory, keyframes and ground truth, offscreen or in a window."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.errors import ConfigError, DataError
from evslam.io.results import read_metrics, read_ply
from evslam.io.trajectory import load_trajectory
from evslam.types import PointMap, Trajectory
from evslam.viz.open3d_import import import_open3d, require_display
from evslam.viz.scene_data import Scene, Segments, View, dashed, frusta, polyline, time_colors, wire_sphere
from evslam.viz.scene_matplotlib import draw_with_matplotlib
from evslam.viz.scene_open3d import draw_with_open3d, open_window

_log = logging.getLogger(__name__)

_TRUTH_GREY = 0.4
_NUM_FRUSTA = 20
_DASHES = 80
_VIEWED_PERCENTILE = 97.0
_DIRECTION_RADIUS = 1.02


def render_scene(run_dir: Path, png: Path, size: tuple[int, int] = (1280, 960)) -> Path:
    """Draw a finished run into a PNG; needs neither display nor GPU.

    Open3D renders by EGL; where that is missing matplotlib draws the same scene and a log line says so.

    Args:
        run_dir: folder of a finished run.
        png: file to write.
        size: (width, height) in pixels.

    Raises:
        DataError: the folder holds no run that can be drawn.
    """
    scene = build_scene(run_dir)
    png.parent.mkdir(parents=True, exist_ok=True)
    try:
        draw_with_open3d(import_open3d(), scene, png, size)
    except ConfigError as error:
        _log.warning("Open3D cannot render here, matplotlib draws the scene instead: %s", error)
        draw_with_matplotlib(scene, png, size)
    return png


def show_scene(run_dir: Path) -> None:
    """Show a finished run in a window until the user closes it.

    Raises:
        ConfigError: there is no display, or Open3D cannot be loaded.
        DataError: the folder holds no run that can be drawn.
    """
    require_display()
    open_window(import_open3d(), build_scene(run_dir), f"evslam: {Path(run_dir).resolve().name}")


def build_scene(run_dir: Path) -> Scene:
    """Geometry of a run: map.ply, trajectory.txt, keyframes.txt and, after `evslam eval`, groundtruth_aligned.txt.

    In rotation mode the map lies on the unit sphere and the trajectory shows where the camera looked.

    Raises:
        DataError: trajectory.txt is missing or empty, or a file is damaged.
    """
    run_dir = Path(run_dir)
    path = run_dir / "trajectory.txt"
    if not path.exists():
        raise DataError(f"{path} does not exist: give the folder of a finished run")
    trajectory = load_trajectory(path, minimum=0)
    if len(trajectory) < 2:
        raise DataError(f"{path} holds {len(trajectory)} poses, nothing can be drawn: run a longer part")
    keyframes = _load_optional(run_dir / "keyframes.txt")
    truth = _load_optional(run_dir / "groundtruth_aligned.txt")
    map_path = run_dir / "map.ply"
    points = read_ply(map_path) if map_path.exists() else PointMap(np.empty((0, 3)), np.empty(0))
    if keyframes is None or len(keyframes) < 2:
        keyframes = trajectory
    chosen = np.unique(np.linspace(0, len(keyframes) - 1, _NUM_FRUSTA).round().astype(int))
    keyframes = Trajectory(keyframes.t_us[chosen], keyframes.poses[chosen])
    draw = _rotation_scene if _is_rotation(run_dir, trajectory) else _position_scene
    return draw(trajectory, keyframes, truth, points)


def _load_optional(path: Path) -> Trajectory | None:
    return load_trajectory(path, minimum=0) if path.exists() else None


def _is_rotation(run_dir: Path, trajectory: Trajectory) -> bool:
    path = run_dir / "metrics.json"
    mode = read_metrics(path).get("mode") if path.exists() else None
    return mode == "rotation" or bool(np.ptp(trajectory.position, axis=0).max() == 0)


def _position_scene(trajectory: Trajectory, keyframes: Trajectory, truth: Trajectory | None, points: PointMap) -> Scene:
    orientation = Rotation.from_quat(trajectory.quaternion)
    forward, up = _mean_direction(orientation, (0, 0, 1)), _mean_direction(orientation, (0, -1, 0))
    colors = time_colors(trajectory.t_us, trajectory.t_us)
    lines = [polyline(trajectory.position, colors, trajectory.t_us)]
    if truth is not None and len(truth):
        lines.append(_truth_line(truth.position, truth.t_us))
    kept = _near(points.points, trajectory.position)
    everything = np.vstack([trajectory.position, points.points[kept][:: max(1, len(points.points) // 20_000)]])
    extent = float(np.linalg.norm(np.ptp(trajectory.position, axis=0)))
    keyframe_colors = time_colors(keyframes.t_us, trajectory.t_us)
    lines.append(frusta(keyframes, keyframe_colors, max(0.05 * extent, 1e-6)))
    sideways = np.cross(forward, up)
    view = View.fitting(everything, toward_eye=-1.0 * forward + 0.7 * up + 0.55 * sideways, up=up)
    return Scene(lines, points.points[kept], _point_colors(points)[kept], view)


def _rotation_scene(trajectory: Trajectory, keyframes: Trajectory, truth: Trajectory | None, points: PointMap) -> Scene:
    orientation = Rotation.from_quat(trajectory.quaternion)
    forward, up = _mean_direction(orientation, (0, 0, 1)), _mean_direction(orientation, (0, -1, 0))
    looks = _DIRECTION_RADIUS * orientation.apply((0, 0, 1))
    sphere = wire_sphere(up)
    lines = [sphere, polyline(looks, time_colors(trajectory.t_us, trajectory.t_us), trajectory.t_us)]
    if truth is not None and len(truth):
        true_looks = _DIRECTION_RADIUS * Rotation.from_quat(truth.quaternion).apply((0, 0, 1))
        lines.append(_truth_line(true_looks, truth.t_us))
    at_origin = np.hstack([np.zeros((len(keyframes), 3)), keyframes.quaternion])
    chosen = Trajectory(keyframes.t_us[::2], at_origin[::2])
    lines.append(frusta(chosen, time_colors(chosen.t_us, trajectory.t_us), 0.25))
    sideways = np.cross(forward, up)
    view = View.fitting(sphere.start, toward_eye=forward + 0.45 * up + 0.6 * sideways, up=up)
    return Scene(lines, points.points, _point_colors(points), view)


def _truth_line(points: np.ndarray, t_us: np.ndarray) -> Segments:
    line = polyline(points, np.full((len(points), 3), _TRUTH_GREY), t_us)
    length = float(np.linalg.norm(line.stop - line.start, axis=1).sum())
    return dashed(line, length / _DASHES) if length > 0 else line


def _mean_direction(orientation: Rotation, axis: tuple[float, float, float]) -> np.ndarray:
    direction = orientation.apply(axis).mean(0)
    norm = np.linalg.norm(direction)
    return direction / norm if norm > 1e-3 else orientation[0].apply(axis)


def _near(points: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """(N,) bool, the points that are not far outliers."""
    if len(points) == 0:
        return np.zeros(0, bool)
    distance = np.linalg.norm(points - np.median(positions, axis=0), axis=1)
    return np.isfinite(distance) & (distance <= np.nanpercentile(distance, _VIEWED_PERCENTILE))


def _point_colors(points: PointMap) -> np.ndarray:
    """(N, 3) grey that is darker where the map is surer."""
    return np.repeat((0.7 - 0.55 * np.clip(points.confidence, 0, 1))[:, None], 3, axis=1)
