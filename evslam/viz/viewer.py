"""Live view of a run: one protocol, a stub that costs nothing, and two windows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from evslam.types import Picture, TrackingState, TrackResult, Trajectory
from evslam.viz.images import depth_colors, to_grey, to_signed_colour
from evslam.viz.open3d_import import import_open3d, require_display
from evslam.viz.scene_data import View, frusta, polyline
from evslam.viz.scene_open3d import line_set, look_from, new_window

_STATE_COLORS = {
    TrackingState.STARTING: (0.9, 0.75, 0.1),
    TrackingState.TRACKING: (0.0, 0.45, 0.7),
    TrackingState.SPARSE: (0.34, 0.71, 0.91),
    TrackingState.LOST: (0.84, 0.37, 0.0),
}
_EVENTS_WIDTH, _STATUS_HEIGHT = 640, 30  # pixels of the window
_FRUSTA, _POINTS = 80, 30_000  # drawn at most
_POINT_GREY, _KEYFRAME_GREY = 0.45, 0.7
_VIEWED_PERCENTILE = 95.0  # of the map's points, by distance, that the view fits


class Viewer(Protocol):
    """What the runner tells about each batch."""

    def update(self, result: TrackResult, picture: Callable[[], Picture], real_time_factor: float) -> None:
        """Show the tracker's answer for a batch; `picture` makes what is shown beside it, when it is needed."""

    def restart(self) -> None:
        """Forget what was shown: the run begins again."""

    def close(self) -> None:
        """Release the windows."""


class StubViewer:
    """A viewer that shows nothing."""

    def update(self, result: TrackResult, picture: Callable[[], Picture], real_time_factor: float) -> None:
        """Do nothing."""

    def restart(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class LiveViewer:
    """Two windows that follow the run without stopping it: the map with the trajectory, and the events.

    The trajectory is coloured by tracking state and ends in the camera's pyramid; grey pyramids are keyframes, grey
    points the map. While the camera only turns, it shows viewing directions on the unit sphere. Over the events lie the
    map's points, near yellow and far violet; below them stand state and speed.

    Args:
        visible: False renders offscreen, for tests.
        redraw_s: wall time between two drawings, at least.

    Raises:
        ConfigError: there is no display, or Open3D cannot be loaded.
    """

    def __init__(self, visible: bool = True, redraw_s: float = 0.1) -> None:
        if visible:
            require_display()
        self._open3d, self._visible, self._redraw_s = import_open3d(), visible, redraw_s
        self._scene = new_window(self._open3d, "evslam: map", (640, 480), visible)
        self._scene.get_render_option().line_width = 3.0
        self._scene.get_render_option().point_size = 2.0
        self._events: Any = None  # opened for the first image, whose size it has
        self._events_shape = (0, 0)
        self.restart()

    def restart(self) -> None:
        """Forget what was shown: the run begins again."""
        self._drawn_at = -np.inf
        self._times: list[int] = []
        self._poses: list[np.ndarray] = []
        self._colors: list[tuple[float, float, float]] = []

    def update(self, result: TrackResult, picture: Callable[[], Picture], real_time_factor: float) -> None:
        """Append the pose of a batch, and draw if the last drawing is old enough."""
        self._times.append(result.t_ref_us)
        self._poses.append(result.T_world_cam.detach().numpy())
        self._colors.append(_STATE_COLORS[result.state])
        now = time.perf_counter()
        if now - self._drawn_at < self._redraw_s:
            return
        self._drawn_at, shown = now, picture()
        self._draw_scene(shown)
        seconds = (self._times[-1] - self._times[0]) * 1e-6
        keyframes = "" if shown.keyframes is None else f", {len(shown.keyframes)} keyframes"
        status = f"{result.state.value}, {seconds:.1f} s, {real_time_factor:.2f} x real time{keyframes}"
        self._draw_events(annotated(shown, status))
        for window in (self._scene, self._events):
            window.poll_events()
            window.update_renderer()

    def close(self) -> None:
        """Close both windows."""
        for window in (self._scene, self._events):
            if window is not None:
                window.destroy_window()

    def _draw_scene(self, shown: Picture) -> None:
        trajectory = Trajectory(np.array(self._times), np.stack(self._poses))
        colors = np.array(self._colors)
        path, extent = trajectory.position, float(np.linalg.norm(np.ptp(trajectory.position, axis=0)))
        if extent == 0:
            path = Rotation.from_quat(trajectory.quaternion).apply((0, 0, 1))
        size = 0.1 * extent if extent > 0 else 0.3
        last = Trajectory(trajectory.t_us[-1:], trajectory.poses[-1:])
        lines = [polyline(path, colors, trajectory.t_us), frusta(last, colors[-1:], size)]
        if shown.keyframes is not None:
            chosen = slice(None, None, -(-len(shown.keyframes) // _FRUSTA))
            some = Trajectory(shown.keyframes.t_us[chosen], shown.keyframes.poses[chosen])
            lines.append(frusta(some, np.full((len(some), 3), _KEYFRAME_GREY), 0.4 * size))
        points = shown.points[:: max(1, -(-len(shown.points) // _POINTS))]
        self._scene.clear_geometries()
        if len(points):
            cloud = self._open3d.geometry.PointCloud(self._open3d.utility.Vector3dVector(points))
            cloud.paint_uniform_color(3 * (_POINT_GREY,))
            self._scene.add_geometry(cloud)
        for each in lines:
            if len(each.start):
                self._scene.add_geometry(line_set(self._open3d, each.start, each.stop, each.colors))
        up, toward_eye = np.array([0.0, -1.0, 0.0]), np.array([0.5, -0.7, -1.0])
        around = trajectory.position[-1] + size * np.vstack([np.eye(3), -np.eye(3)])
        fitted = np.vstack([path, around, _central(points)])
        look_from(self._open3d, self._scene, View.fitting(fitted, toward_eye, up))

    def _draw_events(self, pixels: np.ndarray) -> None:
        if self._events is None or self._events_shape != pixels.shape[:2]:
            if self._events is not None:
                self._events.destroy_window()
            height, width = self._events_shape = pixels.shape[:2]
            self._events = new_window(self._open3d, "evslam: events", (width, height), self._visible, left=720)
        self._events.clear_geometries()
        self._events.add_geometry(self._open3d.geometry.Image(pixels))


def annotated(shown: Picture, status: str) -> np.ndarray:
    """(H, W, 3) uint8: events, enlarged, with map points coloured by depth, and a line of text below."""
    image = shown.image
    colour = to_signed_colour(image) if (image < 0).any() else to_grey(image)[..., None].repeat(3, axis=2)
    zoom = max(1, round(_EVENTS_WIDTH / image.shape[1]))
    pixels = colour.repeat(zoom, axis=0).repeat(zoom, axis=1)
    places = np.rint(zoom * (shown.pixels + 0.5) - 0.5).astype(int)
    for (x, y), point in zip(places.tolist(), (255 * depth_colors(shown.depth)).tolist(), strict=True):
        cv2.circle(pixels, (x, y), 2, point, -1)
    below = np.full((_STATUS_HEIGHT, pixels.shape[1], 3), 255, np.uint8)
    cv2.putText(below, status, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.ascontiguousarray(np.vstack([pixels, below]))


def _central(points: np.ndarray) -> np.ndarray:
    """The points that are not far outliers."""
    if not len(points):
        return points
    distance = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    return points[distance <= np.percentile(distance, _VIEWED_PERCENTILE)]
