"""What a 3-D picture consists of, as plain arrays that any renderer can draw."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import numpy as np
from scipy.spatial.transform import Rotation

from evslam.types import Trajectory

_GAP_S = 0.25
_FIELD_OF_VIEW = np.radians(50.0)
_ASPECT = 4.0 / 3.0
_MARGIN = 1.06
_FRUSTUM_CORNERS = np.array([[-0.75, -0.55, 1.0], [0.75, -0.55, 1.0], [0.75, 0.55, 1.0], [-0.75, 0.55, 1.0]])


@dataclass(frozen=True)
class Segments:
    """Straight lines from start to stop: (N, 3) points in the world frame and (N, 3) colours in [0, 1]."""

    start: np.ndarray
    stop: np.ndarray
    colors: np.ndarray


@dataclass(frozen=True)
class View:
    """A pinhole camera that looks at a scene.

    Attributes:
        target: (3,) point in the middle of the picture.
        eye: (3,) position of the camera.
        up: (3,) direction that points up in the picture.
    """

    target: np.ndarray
    eye: np.ndarray
    up: np.ndarray

    @staticmethod
    def focal_length(width: int, height: int) -> float:
        """Focal length in pixels that shows what `fitting` fitted."""
        return float(0.5 * min(height, width / _ASPECT) / np.tan(0.5 * _FIELD_OF_VIEW))

    @staticmethod
    def fitting(points: np.ndarray, toward_eye: np.ndarray, up: np.ndarray) -> View:
        """The view from a direction that shows all of (N, 3) points, as large as a picture of 4:3 takes them."""
        back = toward_eye / np.linalg.norm(toward_eye)
        right = np.cross(up, back)
        right /= np.linalg.norm(right)
        above = np.cross(back, right)
        axes = np.stack([right, above, back])
        seen = points @ axes.T
        tangent = np.tan(0.5 * _FIELD_OF_VIEW) * np.array([_ASPECT, 1.0])
        # A point is inside the picture where |seen - eye| <= tangent * (eye_back - seen_back), for x and y: four
        # planes that give, for each axis, the eye's distance and its place in the middle.
        highest = (seen[:, :2] / tangent + seen[:, 2:]).max(0)
        lowest = (-seen[:, :2] / tangent + seen[:, 2:]).max(0)
        eye = np.append(0.5 * tangent * (highest - lowest), 0.5 * np.max(highest + lowest))
        middle = np.append(eye[:2], 0.5 * (seen[:, 2].min() + seen[:, 2].max()))
        eye[2] = middle[2] + _MARGIN * max(eye[2] - middle[2], 1e-6)
        return View(middle @ axes, eye @ axes, above)

    def world_to_view(self) -> np.ndarray:
        """(4, 4) matrix to camera coordinates with x right, y down, z forward."""
        forward = (self.target - self.eye) / np.linalg.norm(self.target - self.eye)
        right = np.cross(forward, self.up)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = rotation, -rotation @ self.eye
        return matrix


@dataclass(frozen=True)
class Scene:
    """Lines, (N, 3) points with (N, 3) colours, and the view that shows them."""

    lines: list[Segments]
    points: np.ndarray
    point_colors: np.ndarray
    view: View


def time_colors(t_us: np.ndarray, span_us: np.ndarray) -> np.ndarray:
    """(N, 3) colours that run from dark violet to yellow over the span of times."""
    share = (t_us - span_us[0]) / max(float(span_us[-1] - span_us[0]), 1.0)
    return matplotlib.colormaps["plasma"](0.9 * np.clip(share, 0, 1))[:, :3]


def polyline(points: np.ndarray, colors: np.ndarray, t_us: np.ndarray) -> Segments:
    """The line through (N, 3) points, interrupted where their times are 0.25 s or more apart."""
    joined = np.diff(t_us) < max(_GAP_S * 1e6, 3.0 * float(np.median(np.diff(t_us))) if len(t_us) > 1 else 0.0)
    return Segments(points[:-1][joined], points[1:][joined], colors[:-1][joined])


def dashed(segments: Segments, dash: float) -> Segments:
    """Leave every second stretch of length `dash` out."""
    travelled = np.cumsum(np.linalg.norm(segments.stop - segments.start, axis=1))
    kept = (travelled // dash) % 2 == 0
    return Segments(segments.start[kept], segments.stop[kept], segments.colors[kept])


def frusta(poses: Trajectory, colors: np.ndarray, depth: float) -> Segments:
    """One camera pyramid for each pose, its image plane `depth` away."""
    orientation = Rotation.from_quat(np.repeat(poses.quaternion, 4, axis=0))
    corners = orientation.apply(np.tile(depth * _FRUSTUM_CORNERS, (len(poses), 1)))
    corners = corners.reshape(-1, 4, 3) + poses.position[:, None]
    centres = np.broadcast_to(poses.position[:, None], corners.shape)
    start = np.concatenate([centres, corners], axis=1)
    stop = np.concatenate([corners, np.roll(corners, -1, axis=1)], axis=1)
    return Segments(start.reshape(-1, 3), stop.reshape(-1, 3), np.repeat(colors, 8, axis=0))


def wire_sphere(up: np.ndarray) -> Segments:
    """Meridians and parallels of the unit sphere around the axis `up`, in light grey."""
    angle = np.linspace(0, 2 * np.pi, 97)
    heights = np.radians(np.arange(-60, 61, 30))
    parallels = [
        np.stack([np.cos(h) * np.cos(angle), np.cos(h) * np.sin(angle), np.full(angle.shape, np.sin(h))], axis=1)
        for h in heights
    ]
    meridians = [
        np.stack([np.cos(angle) * np.cos(a), np.cos(angle) * np.sin(a), np.sin(angle)], axis=1)
        for a in np.radians(np.arange(0, 180, 30))
    ]
    circles = np.stack(parallels + meridians)
    turn, _ = Rotation.align_vectors(np.asarray(up)[None], np.array([[0.0, 0.0, 1.0]]))
    start, stop = (turn.apply(part.reshape(-1, 3)) for part in (circles[:, :-1], circles[:, 1:]))
    return Segments(start, stop, np.full(start.shape, 0.85))
