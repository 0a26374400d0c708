"""Scenes: textured boxes (a rectangle is a flat box, a room is a box seen from inside) before an environment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NO_ROTATION = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Texture:
    """Linear intensity on a face.

    Attributes:
        intensity: (H, W) float32 in [0, 1], row 0 at the top; repeated beyond its borders.
        density: texels per metre.
    """

    intensity: np.ndarray
    density: float


@dataclass(frozen=True)
class Sway:
    """Harmonic motion of a box: offset_a(t) = amplitude_a sin(2 pi frequency_a t + phase_a).

    Attributes:
        amplitude: (3,) metres; frequency_hz: (3,); phase: (3,) radians; all along the world axes.
    """

    amplitude: tuple[float, float, float]
    frequency_hz: tuple[float, float, float]
    phase: tuple[float, float, float]

    def offset(self, t: np.ndarray) -> np.ndarray:
        """Offset (N, 3) in metres at the times t (N,) in seconds."""
        angle = 2 * np.pi * np.outer(t, self.frequency_hz) + np.asarray(self.phase)
        return np.asarray(self.amplitude) * np.sin(angle)

    def velocity(self, t: np.ndarray) -> np.ndarray:
        """Velocity (N, 3) in m/s at the times t (N,) in seconds."""
        rate = 2 * np.pi * np.asarray(self.frequency_hz)
        return np.asarray(self.amplitude) * rate * np.cos(np.outer(t, rate) + np.asarray(self.phase))


@dataclass(frozen=True)
class Box:
    """A textured cuboid.

    Attributes:
        center: (3,) metres, world frame.
        half: (3,) metres, half extents along its own axes; one may be zero (a rectangle).
        faces: six indices into `Scene.textures`, for the faces -x +x -y +y -z +z.
        rotvec: (3,) rotation vector of T_world_box.
        inside: the faces are seen from inside (a room).
        sway: harmonic motion of the centre, for a moving object.
    """

    center: tuple[float, float, float]
    half: tuple[float, float, float]
    faces: tuple[int, int, int, int, int, int]
    rotvec: tuple[float, float, float] = NO_ROTATION
    inside: bool = False
    sway: Sway | None = None


@dataclass(frozen=True)
class Scene:
    """Everything the camera can see.

    Attributes:
        boxes: cuboids, rectangles and rooms.
        textures: what the faces of the boxes refer to.
        environment: (6, N + 2, N + 2) float32 cube map at infinity in world axes, or None for a plain grey one;
            the faces look along +x -x +y -y +z -z and carry a border of one texel. See `direction_grid`.
        note: one line on what it shows.
    """

    boxes: tuple[Box, ...] = ()
    textures: tuple[Texture, ...] = ()
    environment: np.ndarray | None = None
    note: str = ""

    def centers(self, t: np.ndarray) -> np.ndarray:
        """Centres of the boxes (N, num_boxes, 3) in world metres at the times t (N,) in seconds."""
        fixed = np.array([box.center for box in self.boxes]).reshape(1, -1, 3)
        centers = np.repeat(fixed, len(t), axis=0)
        for index, box in enumerate(self.boxes):
            if box.sway is not None:
                centers[:, index] += box.sway.offset(t)
        return centers

    def velocities(self, t: np.ndarray) -> np.ndarray:
        """Velocities of the boxes (N, num_boxes, 3) in world m/s at the times t (N,) in seconds."""
        velocities = np.zeros((len(t), len(self.boxes), 3))
        for index, box in enumerate(self.boxes):
            if box.sway is not None:
                velocities[:, index] = box.sway.velocity(t)
        return velocities


def direction_grid(size: int) -> np.ndarray:
    """World directions of the texels of a cube map.

    Arguments:
        size: texels N along the edge of a face, without the border.
    Returns: (6, N + 2, N + 2, 3), not normalised: the component along the axis of the face is +-1.
    """
    line = (np.arange(size + 2) - 0.5) / size * 2 - 1
    row, column = np.meshgrid(line, line, indexing="ij")
    one = np.ones_like(row)
    faces = []
    for axis in range(3):
        for sign in (1.0, -1.0):
            parts = [column, row]
            parts.insert(axis, sign * one)
            faces.append(np.stack(parts, axis=-1))
    return np.stack(faces)


def face_axes(face: int) -> np.ndarray:
    """Columns right, down, forward (3, 3) in world axes of the view that fills a face of a cube map.

    The columns may be left-handed (a mirrored view): they serve to cast rays, not as a pose.
    """
    axis, sign = face // 2, 1.0 if face % 2 == 0 else -1.0
    columns = [np.eye(3)[other] for other in range(3) if other != axis]
    return np.stack([*columns, sign * np.eye(3)[axis]], axis=1)
