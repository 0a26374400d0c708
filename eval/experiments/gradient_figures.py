"""Figures of the gradient study: gradients against finite differences, and slices through the contrast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evslam.errors import ConfigError
from evslam.geometry.camera import Camera
from evslam.packet_problem import Method, PacketProblem
from evslam.types import EventBatch
from evslam.viz.plots import new_figure, save_figure

RAW, FUNCTIONAL = "#D55E00", "#0072B2"
_NAMES = {"rotation": ("x", "y", "z"), "translation": ("x", "y", "z"), "6dof": ("vx", "vy", "vz", "wx", "wy", "wz")}
_IMAGES = (
    ("rect", 0.0, "#999999"),
    ("linear", 0.0, "#E69F00"),
    ("quadratic", 0.0, "#009E73"),
    ("linear", 1.0, "#0072B2"),
)


def scatter_figure(compared: Mapping[str, Any], folder: Path) -> list[Path]:
    """One panel per kernel: raw and functional gradient over the finite difference, near the optimum and far off."""
    kernels = list(dict.fromkeys(name.split("/")[0] for name in compared))
    figure, axes = new_figure(4.4, 2, len(kernels), share_time=False)
    for row, key in enumerate(("near", "far")):
        for column, kernel in enumerate(kernels):
            panel = axes[row * len(kernels) + column]
            for gradient, colour in (("raw", RAW), ("functional", FUNCTIONAL)):
                each = compared.get(f"{kernel}/{gradient}/linear")
                if each is not None:
                    pairs = (each.difference[key], each.gradient[key])
                    panel.plot(*pairs, ".", color=colour, ms=2, alpha=0.5, label=gradient, rasterized=True)
            panel.axline((0, 0), slope=1, color="0.3", lw=0.8)
            panel.tick_params(labelsize=6)
            panel.set_title(f"{kernel}, {key}", fontsize=8)
    axes[0].legend(fontsize=6, frameon=False)
    axes[0].set_ylabel("gradient", fontsize=8)
    axes[len(kernels)].set_ylabel("gradient", fontsize=8)
    figure.supxlabel("finite difference [gain per bin]", fontsize=8)
    return save_figure(figure, folder, "gradients")


def landscape_figure(batch: EventBatch, camera: Camera, centre: np.ndarray, study: Any, folder: Path) -> list[Path]:
    """Contrast over the displacement from the optimum, along every parameter, each image over its own maximum.

    Args:
        batch, camera: the packet.
        centre: (P,) free parameters of the optimum.
        study: a `gradients.Study`.
        folder: where the figure is written.
    """
    names = _NAMES[study.motion]
    figure, axes = new_figure(2.6 * (len(names) // 3), len(names) // 3, 3)
    x = np.linspace(-8, 8, 129)
    for kernel, blur, colour in _IMAGES:
        method = replace(Method(study.motion, margin=0.3), kernel=kernel, blur=blur)
        try:
            problem = PacketProblem(batch, camera, method, study.scale)
        except ConfigError:
            continue
        middle = problem.metric.scale(centre)
        for axis, panel in enumerate(axes):
            points = middle + x[:, None] * np.eye(len(centre))[axis]
            values = np.array([problem.value(problem.metric.unscale(each)) for each in points])
            label = kernel + (f", blur {blur:g}" if blur else "")
            panel.plot(x, (values - values.min()) / np.ptp(values), color=colour, lw=1.1, label=label)
    for name, panel in zip(names, axes, strict=True):
        panel.set_title(f"along {name}", fontsize=9)
        panel.set_xlabel("displacement [bins]", fontsize=8)
    axes[0].set_ylabel("contrast, scaled", fontsize=8)
    axes[0].legend(fontsize=6, frameon=False)
    return save_figure(figure, folder, "landscape")
