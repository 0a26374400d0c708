"""Depth of events from the depth maps of a simulated recording: what a perfect map would know."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scipy.spatial.transform import Rotation
from torch import Tensor

from evslam.errors import DataError
from evslam.geometry.camera import Camera
from evslam.geometry.trajectory import interpolate
from evslam.io.depth import load_depth
from evslam.io.recording import DEPTH_FILE, Recording
from evslam.types import EventBatch, Trajectory
from evslam.warp import Canvas

_SCALE, _MARGIN = 0.5, 0.3  # of the rendered depth image: coarse enough to have few holes
_NEAREST = 0.05


@dataclass(frozen=True)
class DepthMaps:
    """Depth maps (K, H, W) in metres with the poses they were seen from, and the bearings of their pixels."""

    t_us: np.ndarray
    maps: np.ndarray
    trajectory: Trajectory
    camera: Camera

    @staticmethod
    def of(recording: Recording) -> DepthMaps:
        """The maps of a recording.

        Raises:
            DataError: it has no depth maps or no ground-truth poses.
        """
        if recording.groundtruth is None:
            raise DataError(f"{recording.path}: no ground-truth poses to place depth maps with; take depth: plane")
        t_us, maps = load_depth(recording.folder / DEPTH_FILE)
        return DepthMaps(t_us, maps, recording.groundtruth, recording.require_camera())

    def inverse_depth(self, batch: EventBatch) -> Tensor:
        """(N,) 1 / Z in the camera frame at t_ref of every event, from the nearest depth map seen from there."""
        k = int(np.argmin(np.abs(self.t_us - batch.t_ref_us)))
        points = self._points(k, batch.t_ref_us)
        canvas = Canvas.from_camera(self.camera, _MARGIN, _SCALE)
        points = points[points[:, 2] > _NEAREST]
        image = np.full(canvas.shape, np.inf)
        column, row = _pixels(torch.from_numpy(points[:, :2] / points[:, 2:]), canvas)
        inside = (column >= 0) & (column < canvas.shape[1]) & (row >= 0) & (row < canvas.shape[0])
        np.minimum.at(image, (row[inside], column[inside]), points[inside, 2])
        nearest = distance_transform_edt(np.isinf(image), return_distances=False, return_indices=True)
        image = image[tuple(nearest)]
        column, row = _pixels(batch.bearing.double(), canvas)
        depth = image[row.clip(0, canvas.shape[0] - 1), column.clip(0, canvas.shape[1] - 1)]
        return torch.from_numpy(1 / depth).to(batch.t)

    def _points(self, k: int, t_us: int) -> np.ndarray:
        """Points (M, 3) of map k in the camera frame at another time."""
        bearing, valid = self.camera.bearing_table(torch.float64)
        seen = valid.numpy() & np.isfinite(self.maps[k])
        depth = self.maps[k][seen][:, None].astype(float)
        points = np.hstack([bearing.numpy()[seen] * depth, depth])
        there, here = interpolate(self.trajectory, [int(self.t_us[k]), t_us])
        world = Rotation.from_quat(there[3:]).apply(points) + there[:3]
        return np.asarray(Rotation.from_quat(here[3:]).inv().apply(world - here[:3]))


def _pixels(bearing: Tensor, canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    column, row = canvas.project(bearing).round().long().numpy().T
    return column, row
