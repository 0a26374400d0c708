"""A keyframe of the sparse map: what was seen from a place."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np

from evslam.geometry.canvas import Canvas
from evslam.geometry.rigid import inverse
from evslam.geometry.similarity import Similarity
from evslam.multiview.edges import EdgeImage, EdgePoints


@dataclass
class Keyframe:
    """A frame that the map rests on.

    Attributes:
        t_us: time, microseconds.
        T_cam_world: (4, 4) float64.
        ids: (N,) int64, tracks seen, ascending.
        bearing: (N, 2) float64.
        landmark: (N,) int64, landmark of each observation; -1 for none.
        usable: (N,) bool, whether the observation may serve to triangulate its track.
        image: edge image; edges: points on its edges; None where there is none.
        signed: (H, W) uint8, see `PointFrame`: what the place looks like; None where there is none.
        look: (K, D) float16, descriptors of `signed` where it is steepest; None where there are none.
        stretch: of tracking without a loss; between two of them the camera may have been anywhere.
        unit: by which its surroundings have grown since it was made.
    """

    t_us: int
    T_cam_world: np.ndarray
    ids: np.ndarray
    bearing: np.ndarray
    landmark: np.ndarray = field(init=False)
    usable: np.ndarray = field(init=False)
    image: EdgeImage | None = None
    edges: EdgePoints | None = None
    signed: np.ndarray | None = None
    look: np.ndarray | None = None
    stretch: int = 0
    unit: float = 1.0

    def __post_init__(self) -> None:
        self.landmark = np.full(len(self.ids), -1, np.int64)
        self.usable = np.ones(len(self.ids), bool)

    def rows_of(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row of each track (M,) in this keyframe, and whether it is there (M,) bool."""
        return rows_of(self.ids, ids)

    def copy(self) -> Keyframe:
        """The same, with landmarks of its own; what a change replaces as a whole is shared."""
        own = copy(self)
        own.landmark, own.usable = self.landmark.copy(), self.usable.copy()
        return own

    def move(self, T_world_cam: Similarity) -> None:
        """To another place (one similarity); its scale is that of the surroundings, by which edges get farther."""
        self.T_cam_world, scale = T_world_cam.rigid()[0], float(T_world_cam.scale[0])
        self.unit *= scale
        if self.edges is not None:
            edges = self.edges
            self.edges = replace(edges, inverse_depth=edges.inverse_depth / scale, sigma=edges.sigma / scale)

    def edge_points(self, canvas: Canvas) -> np.ndarray:
        """(N, 3) of its edges, which it must have, in the world."""
        assert self.edges is not None
        T_world_cam = inverse(self.T_cam_world)
        return self.edges.points(canvas) @ T_world_cam[:3, :3].T + T_world_cam[:3, 3]


def rows_of(ids: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position of each wanted id (M,) among ascending ids (N,), and whether it is there (M,) bool."""
    if not len(ids):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    row = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
    return row, ids[row] == wanted
