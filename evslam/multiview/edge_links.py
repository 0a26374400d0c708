"""Edge points of keyframes as further points of a bundle adjustment: other keyframes see each across its edge."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evslam.multiview.observations import Observations
from evslam.multiview.sparse_map import SparseMap

_MAX_CHANGE = 0.5  # of log depth in one adjustment
_NEAR = 1e-3


@dataclass(frozen=True)
class EdgeLinks:
    """Edge points and where other keyframes see them.

    Attributes:
        host: (P,) int64, keyframe of each point; row (P,) int64, its row among that keyframe's edges, -1 for a point
            that stays where it is.
        points: (P, 3) float64, world.
        observations: of these points; the first of each that moves is that by its host, in both directions.
        max_error_px: mean error, scaled as the normals are, above which a point is taken out of its keyframe.
    """

    host: np.ndarray
    row: np.ndarray
    points: np.ndarray
    observations: Observations
    max_error_px: float

    @property
    def is_free(self) -> np.ndarray:
        """(P,) bool, which points move."""
        return self.row >= 0

    def after(self, others: Observations, num_points: int) -> Observations:
        """Observations of `num_points` other points, then these."""
        mine = self.observations
        return Observations(
            np.concatenate([others.view, mine.view]),
            np.concatenate([others.point, mine.point + num_points]),
            np.concatenate([others.bearing, mine.bearing]),
            np.concatenate([others.normal, mine.normal]),
            np.concatenate([others.weight, mine.weight]),
        )

    def update(self, map_: SparseMap, points: np.ndarray, error_px: np.ndarray) -> None:
        """Take the adjusted points (P, 3) over into their keyframes; those that do not fit leave them."""
        across = (self.observations.normal != 0).any(1)
        point = self.observations.point[across]
        count = np.bincount(point, minlength=len(points))
        mean = np.bincount(point, error_px[across], len(points)) / np.maximum(count, 1)
        for index in np.unique(self.host[self.is_free]):
            keyframe, mine = map_.keyframes[index], (self.host == index) & self.is_free
            edges = keyframe.edges
            assert edges is not None
            pose = keyframe.T_cam_world
            row = self.row[mine]
            inverse_depth = 1 / np.maximum((points[mine] @ pose[:3, :3].T + pose[:3, 3])[:, 2], _NEAR)
            change = np.abs(np.log(inverse_depth / edges.inverse_depth[row]))
            fits = (mean[mine] < self.max_error_px) & (change < _MAX_CHANGE)
            known = edges.inverse_depth.copy()
            known[row[fits]] = inverse_depth[fits]
            kept = np.ones(len(edges), bool)
            kept[row[~fits]] = False
            keyframe.edges = replace(edges, inverse_depth=known)[kept]
