"""Events of points that a moving camera sees, on whole pixels, for the tests of tracking."""

from __future__ import annotations

import torch
from torch import Tensor

from evslam.batching import BearingTable, Packet
from evslam.config import Config, load_config
from evslam.geometry.camera import Camera
from evslam.geometry.lie import SE3
from evslam.tracking.velocity import VelocityTracker
from evslam.types import EventBatch, Events, SensorSize

CAMERA = Camera(200.0, 200.0, 119.5, 89.5, SensorSize(180, 240))
CONFIG = load_config()
TABLE = BearingTable(*CAMERA.bearing_table())


def tracker(mode: str, config: Config = CONFIG) -> VelocityTracker:
    return VelocityTracker(CAMERA, config.tracker, config.batch, mode)


def scene(depth: tuple[float, float], num: int = 400, seed: int = 0) -> Tensor:
    """Points (num, 3) that fill more than the field of view at depths Z between two bounds, float64."""
    uniform = torch.rand(3, num, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z = depth[0] + (depth[1] - depth[0]) * uniform[2]
    return torch.stack([(2.4 * uniform[0] - 1.2) * z, (2 * uniform[1] - 1) * z, z], 1)


def batch(
    points: Tensor, twist: Tensor, duration_s: float, num_events: int, start_us: int = 0, seed: int = 0
) -> EventBatch:
    """Events of points given in the camera frame at t_ref, under a constant twist.

    Every event shows a random point at a random time, X(t) = exp(-t twist) X(t_ref), on the nearest pixel.
    """
    generator = torch.Generator().manual_seed(seed)
    duration_us = round(duration_s * 1e6)
    draws = 8 * num_events
    t_us = torch.randint(duration_us, (draws,), generator=generator)
    which = torch.randint(len(points), (draws,), generator=generator)
    t = (t_us - duration_us // 2).double() * 1e-6
    pixels, valid = CAMERA.project(SE3.exp(-t[:, None] * twist) * points[which])
    kept = (valid & CAMERA.contains(pixels)).nonzero()[:num_events, 0]
    assert len(kept) == num_events
    kept = kept[t_us[kept].argsort()]
    x, y = pixels[kept].round().long().unbind(1)
    events = Events(start_us + t_us[kept].numpy(), x.numpy(), y.numpy(), (t_us[kept] % 2 == 0).numpy())
    return TABLE.batch(Packet(start_us, start_us + duration_us, events))


def noise(num_events: int, duration_s: float, seed: int = 0) -> EventBatch:
    """Events anywhere, any time."""
    generator = torch.Generator().manual_seed(seed)
    duration_us = round(duration_s * 1e6)
    t_us = torch.randint(duration_us, (num_events,), generator=generator).sort().values
    x, y = (torch.randint(size, (num_events,), generator=generator) for size in (240, 180))
    events = Events(t_us.numpy(), x.numpy(), y.numpy(), (x % 2 == 0).numpy())
    return TABLE.batch(Packet(0, duration_us, events))
