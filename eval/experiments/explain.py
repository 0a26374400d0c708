"""The figure of docs/functional_backpropagation.md: what is binned, what is differentiated, and what comes of it.

python -m evslam.eval.experiments.explain --out docs
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evslam.ops import bin_events
from evslam.viz.plots import new_figure

GREY, RAW, FUNCTIONAL = "#999999", "#D55E00", "#0072B2"
_BINS, _EVENTS = 61, 240


def votes(u: Tensor, kernel: str, gradient: str) -> tuple[np.ndarray, np.ndarray]:
    """Vote of one event for the middle bin, and the derivative that the backward pass uses, at positions u (N,).

    Every event is a packet of its own, so both come out of one call of `bin_events`.
    """
    u = u.clone().requires_grad_()
    middle = _BINS // 2
    offsets = torch.arange(len(u) + 1)
    histogram = bin_events((u + middle)[:, None], None, (_BINS,), kernel=kernel, gradient=gradient, offsets=offsets)
    value = histogram[:, middle]
    (slope,) = torch.autograd.grad(value.sum(), u)
    return value.detach().numpy(), slope.numpy()


def toy(gradient: str, shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variance of a histogram of moving events over their velocity, and its gradient, per bin of displacement.

    Two hundred and forty events of three edges in one dimension, rect bins; the true velocity is zero.
    """
    generator = torch.Generator().manual_seed(1)
    edge = torch.tensor([18.2, 29.7, 41.4], dtype=torch.float64)[torch.arange(_EVENTS) % 3]
    position = edge + 0.3 * torch.randn(_EVENTS, generator=generator, dtype=torch.float64)
    t = torch.linspace(-1, 1, _EVENTS, dtype=torch.float64)
    values, slopes = [], []
    for shift in shifts:
        velocity = torch.tensor(float(shift), dtype=torch.float64, requires_grad=True)
        moved = position + velocity * t[torch.randperm(_EVENTS, generator=torch.Generator().manual_seed(2))]
        value = bin_events(moved[:, None], None, (_BINS,), kernel="rect", gradient=gradient).var()
        (slope,) = torch.autograd.grad(value, velocity)
        values.append(float(value.detach()))
        slopes.append(float(slope))
    return np.array(values), np.array(slopes)


def draw(folder: Path) -> Path:
    """Write folder/functional_backpropagation.png."""
    figure, axes = new_figure(2.5, 1, 3, share_time=False)
    u = torch.linspace(-2.2, 2.2, 441, dtype=torch.float64)
    _draw_votes(axes[0], u)
    _draw_slopes(axes[1], u)
    _draw_toy(axes[2])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "functional_backpropagation.png"
    figure.savefig(path, dpi=200)
    return path


def _draw_votes(panel: Any, u: Tensor) -> None:
    rect, _ = votes(u, "rect", "raw")
    kappa, _ = votes(u, "quadratic", "raw")  # the triangle times the box is the quadratic B-spline
    panel.plot(u, rect, color=GREY, lw=1.6, label="k: forward")
    panel.plot(u, kappa, color=FUNCTIONAL, lw=1.4, label=r"$\kappa = l * k$: backward")
    panel.set(xlabel="event - bin [bins]", ylim=(-0.05, 1.5))
    panel.set_title("vote for a bin", fontsize=9)
    panel.legend(fontsize=6.5, frameon=False, loc="upper center")


def _draw_slopes(panel: Any, u: Tensor) -> None:
    for kernel, gradient, colour, style, label in (
        ("linear", "raw", RAW, "--", "linear, raw k'"),
        ("linear", "functional", RAW, "-", r"linear, $\kappa'$"),
        ("rect", "functional", FUNCTIONAL, "-", r"rect, $\kappa'$ (k' = 0)"),
    ):
        panel.plot(u, votes(u, kernel, gradient)[1], color=colour, ls=style, lw=1.3, label=label)
    panel.set(xlabel="event - bin [bins]", ylim=(-1.15, 1.9))
    panel.set_title("derivative of the vote", fontsize=9)
    panel.legend(fontsize=6.5, frameon=False, loc="upper right")


def _draw_toy(panel: Any) -> None:
    shifts = np.linspace(-4, 4, 161)
    values, slopes = toy("functional", shifts)
    panel.plot(shifts, values, color=GREY, lw=1.6, label="contrast, exact")
    every = slice(12, -8, 15)
    for x, y, slope in zip(shifts[every], values[every], slopes[every], strict=True):
        reach = 0.3
        panel.plot([x - reach, x + reach], [y - slope * reach, y + slope * reach], color=FUNCTIONAL, lw=1.4)
    panel.plot([], [], color=FUNCTIONAL, lw=1.4, label="its gradient, rect bins")
    panel.set(xlabel="velocity [bins]", ylim=(None, 1.35 * values.max()))
    panel.set_title("contrast of 240 events", fontsize=9)
    panel.legend(fontsize=6.5, frameon=False, loc="upper right")


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder (default: docs)")
    print(draw(parser.parse_args(argv).out))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
