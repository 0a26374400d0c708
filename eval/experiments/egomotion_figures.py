"""Figures of the egomotion experiment: how fast the contrast is reached from random starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evslam.eval.experiments.egomotion_runs import best_contrasts, reach
from evslam.viz.plots import new_figure, save_figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
_LONGEST = 60


def write_figures(rows: list[Mapping[str, Any]], motion: str, folder: Path) -> list[Path]:
    """Convergence curves, one panel per optimiser: images by colour, estimators by line style."""
    best, _ = best_contrasts(rows)
    optimisers = list(dict.fromkeys(row["figures"]["settings"]["optimiser"] for row in rows))
    figure, axes = new_figure(3.4, 1, len(optimisers), share_time=False)
    images = list(dict.fromkeys(_image(row["figures"]["settings"]) for row in rows))
    gradients = list(dict.fromkeys(row["figures"]["settings"]["gradient"] for row in rows))
    styles = dict(zip(gradients, ("-", "--", ":", "-."), strict=False))
    for name in dict.fromkeys(row["job"]["configuration"] for row in rows):
        here = [row for row in rows if row["job"]["configuration"] == name]
        settings = here[0]["figures"]["settings"]
        panel = axes[optimisers.index(settings["optimiser"])]
        colour = COLOURS[images.index(_image(settings)) % len(COLOURS)]
        label = name.replace(f"/{settings['optimiser']}", "")
        curve = convergence(here, best)
        panel.plot(
            np.arange(1, _LONGEST + 1), curve, color=colour, ls=styles.get(settings["gradient"], "-"), label=label
        )
    for panel, optimiser in zip(axes, optimisers, strict=True):
        panel.set_title(optimiser, fontsize=10)
        panel.set(xlabel="evaluations", ylim=(0, 1.02), xlim=(1, _LONGEST))
    axes[0].set_ylabel("share of runs at 99 % of the best contrast")
    axes[-1].legend(fontsize=6, frameon=False, loc="lower right")
    return save_figure(figure, folder, f"convergence_{motion}")


def _image(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    return settings["kernel"], settings["blur"], tuple(settings["scales"])


def convergence(rows: list[Mapping[str, Any]], best: Mapping[Any, float]) -> np.ndarray:
    """(_LONGEST,) share of the runs from random starts at 99 % of the best contrast after so many evaluations."""
    counts = []
    for row in rows:
        for packet in row["figures"]["packets"]:
            key = ((row["job"]["sequence"]["name"], packet["t_ref_us"]), row["figures"]["image"])
            for run in packet["runs"]:
                if run["kind"] == "random":
                    reached = reach(run, "contrast", best.get(key, np.inf))
                    counts.append(np.inf if reached is None else reached[0])
    return np.array([np.mean(np.array(counts or [np.inf]) <= k) for k in range(1, _LONGEST + 1)])
