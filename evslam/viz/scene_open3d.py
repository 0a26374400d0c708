"""Drawing a scene with Open3D's legacy visualizer, which renders offscreen by EGL where there is no display."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import imageio.v3 as iio
import numpy as np

from evslam.errors import ConfigError
from evslam.viz.scene_data import Scene, View

_SUPERSAMPLING = 2
_LINE_WIDTH, _POINT_SIZE = 2.5, 2.0


def draw_with_open3d(open3d: ModuleType, scene: Scene, png: Path, size: tuple[int, int]) -> None:
    """Render a scene offscreen.

    Args:
        open3d: the imported module.
        scene: what to draw.
        png: file to write.
        size: (width, height) in pixels.

    Raises:
        ConfigError: no rendering context can be had on this machine.
    """
    width, height = size
    window = new_window(open3d, "evslam", (_SUPERSAMPLING * width, _SUPERSAMPLING * height), visible=False)
    try:
        _fill(open3d, window, scene, _SUPERSAMPLING)
        look_from(open3d, window, scene.view)
        window.poll_events()
        window.update_renderer()
        pixels = np.asarray(window.capture_screen_float_buffer(True))
    finally:
        window.destroy_window()
    rows, columns = (each // _SUPERSAMPLING for each in pixels.shape[:2])
    fine = pixels[: rows * _SUPERSAMPLING, : columns * _SUPERSAMPLING]
    smooth = fine.reshape(rows, _SUPERSAMPLING, columns, _SUPERSAMPLING, 3).mean(axis=(1, 3))
    iio.imwrite(png, np.round(255 * smooth).astype(np.uint8))


def open_window(open3d: ModuleType, scene: Scene, title: str) -> None:
    """Show a scene until the user closes the window.

    Raises:
        ConfigError: no window can be opened.
    """
    window = new_window(open3d, title, (1280, 960), visible=True)
    try:
        _fill(open3d, window, scene, 1)
        look_from(open3d, window, scene.view)
        window.run()
    finally:
        window.destroy_window()


def new_window(open3d: ModuleType, title: str, size: tuple[int, int], visible: bool, left: int = 50) -> Any:
    """A legacy visualizer of (width, height) pixels, `left` pixels from the screen's border.

    Raises:
        ConfigError: neither a window nor an offscreen context can be had.
    """
    window = open3d.visualization.Visualizer()
    with _runtime_folder():
        created = window.create_window(title, width=size[0], height=size[1], left=left, visible=visible)
    if not created:
        raise ConfigError("no OpenGL context for Open3D: install EGL with `apt-get install libegl1 libgl1-mesa-dri`")
    return window


@contextmanager
def _runtime_folder() -> Iterator[None]:
    """Give the window system the folder that it complains about where no user session set it."""
    if "XDG_RUNTIME_DIR" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["XDG_RUNTIME_DIR"]


def look_from(open3d: ModuleType, window: Any, view: View) -> None:
    """Set the camera of a window."""
    control = window.get_view_control()
    camera = control.convert_to_pinhole_camera_parameters()
    width, height = camera.intrinsic.width, camera.intrinsic.height
    focal = view.focal_length(width, height)
    camera.intrinsic = open3d.camera.PinholeCameraIntrinsic(
        width, height, focal, focal, 0.5 * width - 0.5, 0.5 * height - 0.5
    )
    camera.extrinsic = view.world_to_view()
    control.convert_from_pinhole_camera_parameters(camera, allow_arbitrary=True)
    distance = float(np.linalg.norm(view.eye - view.target))
    control.set_constant_z_near(0.01 * distance)
    control.set_constant_z_far(20.0 * distance)


def line_set(open3d: ModuleType, start: np.ndarray, stop: np.ndarray, colors: np.ndarray) -> Any:
    """Open3D lines from (N, 3) start to (N, 3) stop."""
    ends = open3d.utility.Vector3dVector(np.stack([start, stop], axis=1).reshape(-1, 3))
    pairs = open3d.utility.Vector2iVector(np.arange(2 * len(start), dtype=np.int32).reshape(-1, 2))
    lines = open3d.geometry.LineSet(ends, pairs)
    lines.colors = open3d.utility.Vector3dVector(np.ascontiguousarray(colors, dtype=float))
    return lines


def _fill(open3d: ModuleType, window: Any, scene: Scene, factor: int) -> None:
    option = window.get_render_option()
    option.background_color = np.ones(3)
    option.line_width, option.point_size = factor * _LINE_WIDTH, factor * _POINT_SIZE
    option.light_on = False
    if len(scene.points):
        cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(np.ascontiguousarray(scene.points)))
        cloud.colors = open3d.utility.Vector3dVector(np.ascontiguousarray(scene.point_colors))
        window.add_geometry(cloud)
    for lines in scene.lines:
        if len(lines.start):
            window.add_geometry(line_set(open3d, lines.start, lines.stop, lines.colors))
