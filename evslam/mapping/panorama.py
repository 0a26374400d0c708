"""Panoramic map of a rotating camera: motion-compensated events counted over all directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from evslam.config import MapConfig
from evslam.geometry.lie import SE3
from evslam.ops import bin_events
from evslam.types import EventBatch, PointMap
from evslam.warp import warp_events


class Panorama:
    """Equirectangular event counts; column is longitude atan2(X, Z), row is latitude asin(Y), in the world frame.

    The world frame is the first camera frame, so the first view is in the middle.

    Attributes:
        image: (H, W) float32, number of events per pixel, W = 2 H.
    """

    def __init__(self, config: MapConfig, device: torch.device) -> None:
        self.config = config
        self.image = torch.zeros(config.panorama_width // 2, config.panorama_width, device=device)

    def add(self, batch: EventBatch, twist: Tensor, T_world_cam: Tensor) -> None:
        """Count a batch's events in the directions they came from.

        Args:
            batch: undistorted events.
            twist: (6,) of the batch; its rotation compensates the motion.
            T_world_cam: (7,) float64 pose at the batch's t_ref.
        """
        bearing = warp_events(batch.bearing, batch.t, twist, 0.0)
        bearing = bearing[torch.isfinite(bearing).all(1)]
        direction = torch.cat([bearing, torch.ones_like(bearing[:, :1])], 1)
        rotation = SE3.InitFromVec(T_world_cam).matrix()[:3, :3].to(direction)
        x, y, z = (torch.nn.functional.normalize(direction, dim=1) @ rotation.T).unbind(1)
        height, width = self.image.shape
        column = (torch.atan2(x, z) / (2 * torch.pi) + 0.5) * width - 0.5
        row = (torch.asin(y.clamp(-1, 1)) / torch.pi + 0.5) * height - 0.5
        # one column more on either side, for the votes across the seam behind the first view
        votes = bin_events(torch.stack([column + 1, row], 1), None, (height, width + 2), kernel="linear")
        votes[:, 1] += votes[:, -1]
        votes[:, -2] += votes[:, 0]
        self.image += votes[:, 1:-1]

    def points(self) -> PointMap:
        """The brightest pixels as bearings on the unit sphere, at most `max_points`; confidence by event count."""
        counts, index = self.image.flatten().topk(min(self.config.max_points, self.image.numel()))
        index, counts = index[counts > 0].cpu(), counts[counts > 0].double().cpu()
        height, width = self.image.shape
        longitude = ((index % width + 0.5) / width - 0.5) * 2 * np.pi
        latitude = ((index // width + 0.5) / height - 0.5) * np.pi
        flat = latitude.double().cos()
        points = torch.stack([longitude.sin() * flat, latitude.double().sin(), longitude.cos() * flat], 1)
        full = torch.quantile(counts, 0.95) if len(counts) else counts.new_tensor(1.0)
        return PointMap(points.double().numpy(), (counts / full).clamp(max=1).numpy())

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {"image": self.image}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.image = state["image"].to(self.image.device)
