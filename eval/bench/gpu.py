"""The binning layer on a GPU: does it agree with the CPU, and how near is it to what the memory allows? Prints JSON.

    python -m evslam.eval.bench.gpu --events 20000 200000 2000000 20000000

`agreement`: largest difference from the CPU's result over its largest value, for every kernel in one to three
dimensions, two packets, float64: histogram, gradient by coordinates and weights, and gradient of the squared gradient.
`speed`: medians of a histogram of 200 x 150 bins and of its gradient, float32, random events; `bound_ms` is the time in
which the same device copies the bytes that have to be read and written.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evslam.ops import bin_events

KERNELS = ("rect", "linear", "quadratic", "cubic", "gauss")
SHAPES = {1: (40,), 2: (30, 40), 3: (6, 30, 40)}
SHAPE = 150, 200
COPIED = 1 << 28  # bytes
REPEATS = 30


def derivatives(coords: Tensor, weights: Tensor, offsets: Tensor, shape: tuple[int, ...], kernel: str) -> list[Tensor]:
    """Histogram, its squares' gradient by coordinates and weights, and the gradient of that one's squares."""
    coords, weights = coords.clone().requires_grad_(), weights.clone().requires_grad_()
    histogram = bin_events(coords, weights, shape, kernel=kernel, offsets=offsets)
    first = torch.autograd.grad(histogram.square().sum(), (coords, weights), create_graph=True)
    second = torch.autograd.grad(first[0].square().sum(), (coords, weights))
    return [each.detach().cpu() for each in (histogram, *first, *second)]


def agreement(kernel: str, dimensions: int, device: torch.device) -> float:
    """Largest difference between both devices, relative to the largest value of each result."""
    generator, shape = torch.Generator().manual_seed(0), SHAPES[dimensions]
    size = torch.tensor(shape[::-1], dtype=torch.float64)
    coords = torch.rand(5000, dimensions, generator=generator, dtype=torch.float64) * (size + 6) - 3
    weights = torch.randn(len(coords), generator=generator, dtype=torch.float64)
    offsets = torch.tensor([0, 2000, len(coords)])
    here = derivatives(coords, weights, offsets, shape, kernel)
    there = derivatives(coords.to(device), weights.to(device), offsets.to(device), shape, kernel)
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(here, there, strict=True))


def milliseconds(work: Callable[[], object], device: torch.device) -> float:
    """Median of some repetitions, each waited for."""
    taken = []
    for _ in range(REPEATS + 3):
        torch.accelerator.synchronize(device)
        begun = time.perf_counter()
        work()
        torch.accelerator.synchronize(device)
        taken.append(1000 * (time.perf_counter() - begun))
    return float(np.median(taken[3:]))  # the first ones compile


def speed(num_events: int, kernel: str, device: torch.device) -> dict[str, Any]:
    """Of the histogram, and of histogram and gradient."""
    coords = torch.rand(num_events, 2, device=device) * torch.tensor(SHAPE[::-1], device=device)
    leaf = coords.clone().requires_grad_()
    source = torch.empty(COPIED // 4, device=device)
    target = torch.empty_like(source)
    bytes_per_ms = 2 * COPIED / milliseconds(lambda: target.copy_(source), device)
    read, written = 2 * coords.nbytes, coords.nbytes  # the coordinates, forward and backward; the gradient
    return {
        "events": num_events,
        "kernel": kernel,
        "histogram_ms": milliseconds(lambda: bin_events(coords, None, SHAPE, kernel=kernel), device),
        "with_gradient_ms": milliseconds(
            lambda: torch.autograd.grad(bin_events(leaf, None, SHAPE, kernel=kernel).square().sum(), leaf), device
        ),
        "bound_ms": (read + written) / bytes_per_ms,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[20_000, 200_000, 2_000_000, 20_000_000])
    parser.add_argument("--device", help="default: the accelerator that torch finds")
    arguments = parser.parse_args()
    device = torch.device(arguments.device) if arguments.device else torch.accelerator.current_accelerator()
    if device is None:
        raise SystemExit("torch finds no accelerator; --device names one")
    print(json.dumps({
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "torch": torch.__version__,
        "agreement": {f"{kernel} {d}d": agreement(kernel, d, device) for kernel in KERNELS for d in SHAPES},
        "speed": [speed(number, kernel, device) for kernel in KERNELS[:3] for number in arguments.events],
    }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()
