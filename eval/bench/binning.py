"""Speed of the binning layer and of one objective evaluation, beside plain torch in the same run; prints JSON.

    python -m evslam.eval.bench.binning --events 20000 200000

`torch eager` is what contrast-maximisation code usually does: bilinear votes by index_add and autograd through them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from evslam.objective import variance
from evslam.ops import bin_events
from evslam.provenance import versions
from evslam.warp import Canvas, warp_events, warp_events_reference

CANVAS = Canvas(200.0, 200.0, 120.0, 90.0, (180, 240))
TWIST = torch.tensor([0.0, 0.0, 0.0, 0.5, -1.0, 0.3])
Step = Callable[[Tensor, Tensor, Tensor], Tensor]


def eager_votes(coords: Tensor, shape: tuple[int, int]) -> Tensor:
    """Bilinear votes in plain torch, differentiable through the weights."""
    height, width = shape
    corner = coords.detach().floor()
    fraction = coords - corner
    image = torch.zeros(height * width)
    for dx in (0, 1):
        for dy in (0, 1):
            weight = (fraction[:, 0] if dx else 1 - fraction[:, 0]) * (fraction[:, 1] if dy else 1 - fraction[:, 1])
            column, row = corner[:, 0].long() + dx, corner[:, 1].long() + dy
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            image = image.index_add(0, (row * width + column)[inside], weight[inside])
    return image.view(height, width)


def eager(bearing: Tensor, t: Tensor, twist: Tensor) -> Tensor:
    """Variance of bilinear votes, all in plain torch."""
    warped = warp_events_reference(bearing, t, twist, torch.zeros(1))
    return variance(eager_votes(CANVAS.project(warped), CANVAS.shape))


def compiled(kernel: str, gradient: str) -> Step:
    """Variance through the binning layer."""

    def step(bearing: Tensor, t: Tensor, twist: Tensor) -> Tensor:
        coords = CANVAS.project(warp_events(bearing, t, twist, 0.0))
        return variance(bin_events(coords, None, CANVAS.shape, kernel=kernel, gradient=gradient))

    return step


def time_ms(step: Step, num_events: int, repeats: int) -> dict[str, float]:
    """Median and interquartile range of value + gradient, in ms."""
    generator = torch.Generator().manual_seed(0)
    bearing = (torch.rand(num_events, 2, generator=generator) - 0.5) * torch.tensor([1.0, 0.75])
    t = (torch.rand(num_events, generator=generator) - 0.5) * 0.05
    times = []
    for _ in range(repeats + 2):
        twist = TWIST.clone().requires_grad_()
        begin = time.perf_counter()
        torch.autograd.grad(step(bearing, t, twist), twist)
        times.append((time.perf_counter() - begin) * 1e3)
    low, median, high = np.percentile(times[2:], [25, 50, 75])
    return {
        "median_ms": round(median, 3),
        "iqr_ms": round(high - low, 3),
        "mev_per_s": round(num_events / median * 1e-3, 2),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    steps: dict[str, Step] = {"torch eager, linear raw": eager}
    for kernel in ("rect", "linear", "quadratic", "cubic"):
        for gradient in ("functional", "raw"):
            steps[f"{kernel} {gradient}"] = compiled(kernel, gradient)
    figures = {
        str(number): {name: time_ms(step, number, arguments.repeats) for name, step in steps.items()}
        for number in arguments.events
    }
    print(json.dumps({"value_and_gradient": figures, "versions": versions()}, indent=2))


if __name__ == "__main__":
    main()
