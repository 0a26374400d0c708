"""The picture of `evslam info`: events of a moment, events of every pixel, rate over time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from evslam.types import Events, SensorSize
from evslam.viz.images import polarity_image
from evslam.viz.plots import ERROR, ESTIMATE


def save_survey(
    path: Path, events: Events, counts: np.ndarray, hot: np.ndarray, seconds: np.ndarray, rate: np.ndarray
) -> Path:
    """Write the picture.

    Args:
        path: PNG or PDF to write.
        events: of a moment.
        counts, hot: (H, W) events of each pixel, and whether it is hot.
        seconds: (B + 1,) edges of time.
        rate: (B,) events per second between them.
    """
    height, width = counts.shape
    figure = Figure(figsize=(7.0, 1.9 + 3.3 * height / width), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplot_mosaic([["moment", "pixels"], ["rate", "rate"]], height_ratios=[3.3 * height / width, 1.5])
    span_ms = (int(events.t[-1]) - int(events.t[0])) * 1e-3 if len(events) else 0.0
    axes["moment"].imshow(polarity_image(events, SensorSize(height=height, width=width)), interpolation="nearest")
    axes["moment"].set_title(f"{len(events)} events, {span_ms:.3g} ms", fontsize=9)
    axes["pixels"].imshow(np.log1p(counts), cmap="gray_r", interpolation="nearest")
    rows, columns = np.nonzero(hot)
    axes["pixels"].plot(columns, rows, "o", markersize=6, markerfacecolor="none", color=ERROR, linewidth=0)
    axes["pixels"].set_title(f"events per pixel (log), {len(rows)} hot pixels", fontsize=9)
    for name in ("moment", "pixels"):
        axes[name].set(xticks=[], yticks=[])
    axes["rate"].stairs(rate * 1e-6, seconds, color=ESTIMATE, fill=True, alpha=0.4)
    axes["rate"].set(xlabel="time [s]", ylabel="million events/s", xlim=(seconds[0], seconds[-1]), ylim=(0, None))
    axes["rate"].tick_params(labelsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path
