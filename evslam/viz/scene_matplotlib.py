"""Drawing a scene with matplotlib, where Open3D finds no rendering context."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from evslam.viz.scene_data import Scene

_DPI = 100
_NEAR = 1e-6


def draw_with_matplotlib(scene: Scene, png: Path, size: tuple[int, int]) -> None:
    """Project a scene with its own view and draw it flat, lines over points.

    Args:
        scene: what to draw.
        png: file to write.
        size: (width, height) in pixels.
    """
    figure = Figure(figsize=(size[0] / _DPI, size[1] / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    wide, high = np.array(size) / 2 / scene.view.focal_length(*size)
    axes.set(xlim=(-wide, wide), ylim=(high, -high))
    axes.axis("off")
    if len(scene.points):
        points, depth = _project(scene, scene.points)
        order = np.argsort(-depth)[: np.count_nonzero(depth > _NEAR)]
        x, y = points[order].T
        axes.scatter(x, y, c=np.clip(scene.point_colors[order], 0, 1), s=1.5, linewidths=0)
    for lines in scene.lines:
        (start, near), (stop, far) = _project(scene, lines.start), _project(scene, lines.stop)
        visible = (near > _NEAR) & (far > _NEAR)
        ends = np.stack([start[visible], stop[visible]], axis=1)
        axes.add_collection(LineCollection(list(ends), colors=lines.colors[visible], linewidths=1.4, capstyle="round"))
    figure.savefig(png, dpi=_DPI, facecolor="white")


def _project(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    matrix = scene.view.world_to_view()
    seen = points @ matrix[:3, :3].T + matrix[:3, 3]
    return seen[:, :2] / np.maximum(seen[:, 2:], _NEAR), seen[:, 2]
