"""Live view of a run: one protocol, a stub that costs nothing, and a window."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.types import TrackingState, TrackResult, Trajectory
from evslam.viz.images import to_grey, to_signed_colour
from evslam.viz.open3d_import import import_open3d, require_display
from evslam.viz.scene_data import View, frusta, polyline
from evslam.viz.scene_open3d import line_set, look_from, new_window

_STATE_COLORS = {
    TrackingState.STARTING: (0.9, 0.75, 0.1),
    TrackingState.TRACKING: (0.0, 0.45, 0.7),
    TrackingState.SPARSE: (0.34, 0.71, 0.91),
    TrackingState.LOST: (0.84, 0.37, 0.0),
}
_REDRAW_EVERY = 3


class Viewer(Protocol):
    """What the runner tells about each batch."""

    def update(self, result: TrackResult, image: np.ndarray | None) -> None:
        """Show the tracker's answer for a batch and its (H, W) motion-compensated events (None: none made)."""

    def close(self) -> None:
        """Release the window."""


class StubViewer:
    """A viewer that shows nothing."""

    def update(self, result: TrackResult, image: np.ndarray | None) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class LiveViewer:
    """Two windows, trajectory and events, that follow the run without stopping it.

    The trajectory is coloured by tracking state and ends in the camera's pyramid; while the camera only turns, it
    shows viewing directions on the unit sphere.

    Args:
        image_size: (H, W) of the event images.
        visible: False renders offscreen, for tests.

    Raises:
        ConfigError: there is no display, or Open3D cannot be loaded.
    """

    def __init__(self, image_size: tuple[int, int], visible: bool = True) -> None:
        if visible:
            require_display()
        self._open3d = import_open3d()
        height, width = image_size
        zoom = max(1, 640 // width)
        self._scene = new_window(self._open3d, "evslam: trajectory", (640, 480), visible)
        self._events = new_window(self._open3d, "evslam: events", (zoom * width, zoom * height), visible, left=700)
        self._scene.get_render_option().line_width = 3.0
        self._times: list[int] = []
        self._poses: list[np.ndarray] = []
        self._colors: list[tuple[float, float, float]] = []

    def update(self, result: TrackResult, image: np.ndarray | None) -> None:
        """Append the pose of a batch; every third batch is drawn, the windows answer the user at every one."""
        self._times.append(result.t_ref_us)
        self._poses.append(result.T_world_cam.detach().numpy())
        self._colors.append(_STATE_COLORS[result.state])
        if len(self._poses) % _REDRAW_EVERY == 0:
            self._draw_trajectory()
            if image is not None:
                self._draw_events(image)
        for window in (self._scene, self._events):
            window.poll_events()
            window.update_renderer()

    def close(self) -> None:
        """Close both windows."""
        for window in (self._scene, self._events):
            window.destroy_window()

    def _draw_trajectory(self) -> None:
        trajectory = Trajectory(np.array(self._times), np.stack(self._poses))
        colors = np.array(self._colors)
        points, extent = trajectory.position, float(np.linalg.norm(np.ptp(trajectory.position, axis=0)))
        if extent == 0:
            points = Rotation.from_quat(trajectory.quaternion).apply((0, 0, 1))
        size = 0.1 * extent if extent > 0 else 0.3
        last = Trajectory(trajectory.t_us[-1:], trajectory.poses[-1:])
        self._scene.clear_geometries()
        for lines in (polyline(points, colors, trajectory.t_us), frusta(last, colors[-1:], size)):
            if len(lines.start):
                self._scene.add_geometry(line_set(self._open3d, lines.start, lines.stop, lines.colors))
        up, toward_eye = np.array([0.0, -1.0, 0.0]), np.array([0.5, -0.7, -1.0])
        shown = np.vstack([points, trajectory.position[-1] + size * np.vstack([np.eye(3), -np.eye(3)])])
        look_from(self._open3d, self._scene, View.fitting(shown, toward_eye, up))

    def _draw_events(self, image: np.ndarray) -> None:
        colour = to_signed_colour(image) if (image < 0).any() else to_grey(image)[..., None].repeat(3, axis=2)
        zoom = max(1, 640 // image.shape[1])
        pixels = np.ascontiguousarray(colour.repeat(zoom, axis=0).repeat(zoom, axis=1))
        self._events.clear_geometries()
        self._events.add_geometry(self._open3d.geometry.Image(pixels))
