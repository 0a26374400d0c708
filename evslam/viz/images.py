"""Event images as PNG files."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import matplotlib
import numpy as np

from evslam.types import Events, SensorSize
from evslam.viz.plots import new_figure

_BLUE, _RED = np.array([0, 90, 181]), np.array([220, 50, 32])


def to_grey(image: np.ndarray, percentile: float = 99.5, limit: float | None = None) -> np.ndarray:
    """Scale an image of counts to 8 bits, dark on white as events are printed.

    Args:
        image: (H, W) values; 0 becomes white.
        percentile: of the positive values, becomes black.
        limit: value that becomes black, instead of the percentile.

    Returns:
        (H, W) uint8.
    """
    top = _limit(image, percentile) if limit is None else limit
    return np.round(255 * (1 - np.clip(image / top, 0, 1))).astype(np.uint8)


def to_signed_colour(image: np.ndarray, percentile: float = 99.5, limit: float | None = None) -> np.ndarray:
    """Scale a signed image to colours on white: positive blue, negative red; (H, W) to (H, W, 3) uint8."""
    top = _limit(np.abs(image), percentile) if limit is None else limit
    strength = np.clip(image / top, -1, 1)[..., None]
    colour = np.where(strength > 0, _BLUE, _RED)
    return np.round(255 + np.abs(strength) * (colour - 255.0)).astype(np.uint8)


def polarity_image(events: Events, size: SensorSize) -> np.ndarray:
    """Events on white, the sign of their sum blue (brighter) or red (darker); (H, W, 3) uint8."""
    balance = np.zeros((size.height, size.width))
    np.add.at(balance, (events.y, events.x), np.where(events.p, 1.0, -1.0))
    return to_signed_colour(np.sign(balance), limit=1.0)


def save_image(pixels: np.ndarray, path: Path, enlarge: int = 1) -> Path:
    """Write (H, W) or (H, W, 3) uint8 as PNG, each pixel `enlarge` times as wide and high."""
    path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(path, pixels.repeat(enlarge, axis=0).repeat(enlarge, axis=1))
    return path


def save_panorama(panorama: np.ndarray, path: Path) -> Path:
    """Write a panorama of (H, W) event counts (signed: in colour) as PNG."""
    return save_image(to_signed_colour(panorama) if (panorama < 0).any() else to_grey(panorama), path)


def save_compensation(before: np.ndarray, after: np.ndarray, path: Path, titles: tuple[str, str] | None = None) -> Path:
    """Write images of one batch before and after motion compensation side by side, on one scale.

    Args:
        before, after: (H, W) images of events, of one sign (grey) or signed (colour).
        path: PNG to write.
        titles: over the two images.
    """
    both = np.stack([before, after])
    limit = _limit(np.abs(both), 99.5)
    convert = to_signed_colour if (both < 0).any() else to_grey
    height, width = before.shape
    figure, axes = new_figure(0.35 + 3.5 * height / width, 1, 2, share_time=False)
    for each, image, title in zip(axes, both, titles or ("uncompensated", "motion-compensated"), strict=True):
        each.imshow(convert(image, limit=limit), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        each.set_title(title, fontsize=10)
        each.set(xticks=[], yticks=[])
        each.grid(False)
        each.spines[:].set_visible(True)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200, bbox_inches="tight", pad_inches=0.04)
    return path


def depth_colors(depth: np.ndarray) -> np.ndarray:
    """(N, 3) colours in [0, 1] by the rank of depths (N,): near yellow, far violet."""
    rank = np.argsort(np.argsort(-depth)) / max(len(depth) - 1, 1)
    return matplotlib.colormaps["plasma"](rank / 1.1)[:, :3]


def _limit(magnitude: np.ndarray, percentile: float) -> float:
    positive = magnitude[magnitude > 0]
    return float(np.percentile(positive, percentile)) if positive.size else 1.0


def save_keyframe(strength: np.ndarray, pixel: np.ndarray, depth: np.ndarray, path: Path) -> Path:
    """Write an edge image (H, W) with its points (N, 2), coloured by their depth (N,), near yellow and far violet."""
    height, width = strength.shape
    figure, (axes,) = new_figure(0.2 + 7.0 * height / width, share_time=False)
    axes.imshow(to_grey(strength), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.scatter(pixel[:, 0], pixel[:, 1], s=12, c=depth_colors(depth), linewidths=0)
    axes.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.grid(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200, bbox_inches="tight", pad_inches=0.04)
    return path
