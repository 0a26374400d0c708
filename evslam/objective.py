"""How sharp an image of warped events is: the objectives of motion estimation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from evslam.errors import ConfigError
from evslam.ops import bin_events
from evslam.types import EventBatch
from evslam.warp import Canvas, warp_events


def variance(iwe: Tensor) -> Tensor:
    """Variance of the pixels of an event image (Gallego et al., CVPR 2018, eq. 5)."""
    return iwe.var(correction=0)


def mean_square(iwe: Tensor) -> Tensor:
    """Mean squared pixel value (Gallego et al., CVPR 2019)."""
    return iwe.square().mean()


def gradient_magnitude(iwe: Tensor) -> Tensor:
    """Mean squared magnitude of the image gradient by central differences (Gallego et al., CVPR 2019)."""
    dx = 0.5 * (iwe[1:-1, 2:] - iwe[1:-1, :-2])
    dy = 0.5 * (iwe[2:, 1:-1] - iwe[:-2, 1:-1])
    return (dx.square() + dy.square()).mean()


OBJECTIVES: dict[str, Callable[[Tensor], Tensor]] = {
    "variance": variance,
    "mean_square": mean_square,
    "gradient_magnitude": gradient_magnitude,
}


def objective_by_name(name: str) -> Callable[[Tensor], Tensor]:
    """Contrast measure by name; ConfigError when it does not exist."""
    if name not in OBJECTIVES:
        raise ConfigError(f"objective {name!r} does not exist; choose one of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]


@dataclass(frozen=True)
class BatchContrast:
    """Contrast of one event batch as a function of its twist.

    Attributes:
        batch: the events.
        canvas: image plane on which they are binned.
        kernel, gradient: of the binning layer.
        measure: contrast measure, one of OBJECTIVES.
        inverse_depth: of every event; 1 makes v a velocity in scene depths per second.
    """

    batch: EventBatch
    canvas: Canvas
    kernel: str
    gradient: str
    measure: Callable[[Tensor], Tensor]
    inverse_depth: float = 1.0

    def iwe(self, twist: Tensor) -> Tensor:
        """Image of warped events (H, W) for a twist (6,)."""
        warped = warp_events(self.batch.bearing, self.batch.t, twist, self.inverse_depth)
        coords = self.canvas.project(warped)
        return bin_events(coords, None, self.canvas.shape, kernel=self.kernel, gradient=self.gradient)

    def __call__(self, twist: Tensor) -> Tensor:
        """Contrast (scalar), differentiable to the twist."""
        return self.measure(self.iwe(twist))
