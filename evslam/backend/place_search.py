"""Where a map shows what a camera sees now: keyframes that look alike, and the pose by their points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from evslam.backend.look_index import LookIndex
from evslam.backend.loop_match import is_spread, see_points
from evslam.backend.places import View, describe, view_of
from evslam.config import Config
from evslam.geometry.canvas import Canvas, inside
from evslam.geometry.rigid import NEAR, seen_from
from evslam.multiview.sparse_map import SparseMap
from evslam.settings_places import LoopConfig, PlacesConfig, SearchConfig

_BLUR_PX = 1.0


@dataclass(frozen=True)
class Glimpse:
    """What a single image shows, without depth.

    Attributes:
        bearing: (N, 2) float64, the strongest edge of each cell, the strongest first.
        descriptor: (N, D) float32, see `places.describe`.
    """

    bearing: np.ndarray
    descriptor: np.ndarray


def glimpse_of(signed: np.ndarray, canvas: Canvas, most: int, config: PlacesConfig) -> Glimpse:
    """Descriptors where an image is steepest.

    Args:
        signed: (H, W) uint8, see `PointFrame.signed`.
        canvas: image plane.
        most: points, at most.
        config: cells, of which each gives one point, and patches.
    """
    smooth = cv2.GaussianBlur(signed.astype(np.float32), (0, 0), _BLUR_PX)
    steep = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)) * canvas.valid
    cell = round(config.cell_px)
    rows, columns = steep.shape[0] // cell, steep.shape[1] // cell
    blocks = steep[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell).swapaxes(1, 2)
    blocks = blocks.reshape(rows * columns, cell * cell)
    best, height = blocks.argmax(1), blocks.max(1)
    chosen = np.argsort(-height, kind="stable")[:most]
    chosen = chosen[height[chosen] > 0]
    x, y = chosen % columns * cell + best[chosen] % cell, chosen // columns * cell + best[chosen] // cell
    pixel = np.stack([x, y], 1).astype(float)
    return Glimpse(canvas.bearings(pixel), describe(signed, pixel, config))


def look_of(signed: np.ndarray | None, canvas: Canvas, config: Config) -> np.ndarray | None:
    """What a keyframe looks like (`Keyframe.look`); None without a signed image, or where no search is to be made."""
    if signed is None or not config.search.use:
        return None
    glimpse = glimpse_of(signed, canvas, config.search.summary_points, config.places)
    return glimpse.descriptor.astype(np.float16)


@dataclass(frozen=True)
class Place:
    """Where a glimpse was taken.

    Attributes:
        T_cam_world: (4, 4) float64.
        keyframe: that shows the same.
        points: (N, 3) float64, world: what the keyframe shows.
        landmark: (N,) int64, -1 for points on edges.
    """

    T_cam_world: np.ndarray
    keyframe: int
    points: np.ndarray
    landmark: np.ndarray


@dataclass(frozen=True)
class SearchSettings:
    """Sections of the configuration that a search depends on, and the seed of the vocabulary."""

    places: PlacesConfig
    loop: LoopConfig
    search: SearchConfig
    seed: int

    @staticmethod
    def of(config: Config) -> SearchSettings:
        """The parts of a configuration."""
        return SearchSettings(config.places, config.loop, config.search, config.seed)


class PlaceIndex:
    """The places that the keyframes of a map show, which does not change meanwhile.

    Args:
        map_: keyframes with signed images and what they look like, landmarks, edges.
        canvas: image plane.
        settings: limits.
    """

    def __init__(self, map_: SparseMap, canvas: Canvas, settings: SearchSettings) -> None:
        self.map, self.canvas, self.settings = map_, canvas, settings
        self._views: dict[int, View | None] = {}
        self._looks = LookIndex(settings.places.words, settings.seed)
        self._looks.update(map_)

    def find(self, glimpse: Glimpse) -> Iterator[Place]:
        """Keyframes that look like the glimpse, the most alike first, whose points agree with a pose."""
        found = (self._see(keyframe, glimpse) for keyframe in self.alike(glimpse.descriptor))
        return (place for place in found if place is not None)

    def alike(self, descriptor: np.ndarray) -> list[int]:
        """Keyframes that look most like an image with these descriptors (N, D), the strongest first."""
        search = self.settings.search
        return self._looks.nearest(descriptor[: search.summary_points], search.candidates)

    def view(self, keyframe: int) -> View | None:
        """What a keyframe shows."""
        if keyframe not in self._views:
            self._views[keyframe] = view_of(self.map, keyframe, self.canvas, self.settings.places)
        return self._views[keyframe]

    def _see(self, keyframe: int, glimpse: Glimpse) -> Place | None:
        """Where the glimpse was taken by the points of a keyframe; None unless many agree, and all over the image."""
        view, canvas, search = self.view(keyframe), self.canvas, self.settings.search
        if view is None:
            return None
        seen = see_points(view, glimpse.bearing, glimpse.descriptor, canvas.focal, self.settings.loop)
        if seen is None:
            return None
        fit, rows = seen
        pose = fit.T_cam_world
        expected, depth = seen_from(pose, view.points)
        in_view = int(((depth > NEAR) & inside(canvas.pixels(expected), canvas.valid)).sum())
        error_px = canvas.focal * np.linalg.norm(expected[rows[:, 0]] - glimpse.bearing[rows[:, 1]], axis=1)
        fits = rows[error_px < search.inlier_px]
        if len(fits) < max(search.min_points, search.min_share * in_view):
            return None
        if not is_spread(canvas.focal * glimpse.bearing[fits[:, 1]], search.min_spread_px):
            return None
        T_key_world = self.map.keyframes[keyframe].T_cam_world
        world = (view.points - T_key_world[:3, 3]) @ T_key_world[:3, :3]
        return Place(pose @ T_key_world, keyframe, world, view.landmark)
