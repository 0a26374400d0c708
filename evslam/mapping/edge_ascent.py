"""Edge points pulled up the edge images of other views: the dense counterpart of `edge_match`, for comparison.

A point's share in the contrast of a target's events and the projected map together is, where the map weighs little,
the target's twice band-passed image at the point. Its value and slope are what the binning layer's backward pass gives
for a vote of the point: the value by the weight of the vote, exact, the slope by its place, by functional
backpropagation.
"""

from __future__ import annotations

import numpy as np
import torch

from evslam.geometry.canvas import inside
from evslam.geometry.rigid import seen_from
from evslam.mapping.edge_image import EdgeImager, band_pass
from evslam.mapping.edge_match import Match
from evslam.multiview.edges import EdgeImage, EdgeLevel
from evslam.ops import bin_events

_MIN_DEPTH = 1e-3
_MIN_SLOPE = 1e-3  # per pixel


def climb_edges(
    imager: EdgeImager,
    hosts: list[np.ndarray],
    targets: list[EdgeImage],
    pairs: list[tuple[int, int]],
    T_target_host: np.ndarray,
    radius_px: int,
) -> list[Match]:
    """One Gauss-Newton step of edges towards the ridges of targets; arguments as for `match_edges`.

    The residual is 1 - S, at least 0, with S the twice band-passed image at the projected point. In the matches the
    normal is the slope of S, per pixel, not of unit length, and the pixel is where that slope makes the residual zero.
    """
    results: list[Match] = []
    images = {number: contrast_image(targets[number].levels[-1]) for _, number in pairs}
    for (host, target), pose in zip(pairs, T_target_host, strict=True):
        bearing, depth = seen_from(pose, hosts[host][:, :3])
        pixel = imager.canvas.pixels(bearing)
        strength, slope = _strength_and_slope(pixel, images[target])
        length = np.linalg.norm(slope, axis=1).clip(_MIN_SLOPE)
        residual = (1 - strength).clip(0)
        found = (depth > _MIN_DEPTH) & inside(pixel, imager.valid)
        found &= (strength >= imager.config.min_match) & (residual <= radius_px * length)
        ridge, kept = pixel + (residual / length**2)[:, None] * slope, found[:, None]
        offset = np.where(found, residual / length, 0.0)
        results.append(Match(np.where(kept, ridge, 0.0), np.where(kept, slope, 0.0), offset, found))
    return results


def contrast_image(level: EdgeLevel) -> np.ndarray:
    """(H, W) float32: the slope of the union's contrast by the votes of the map; the 90 % quantile of ridges is 1."""
    image = band_pass(level.band, level.scale_px)
    positive = image[image > 0]
    return np.asarray(image / float(np.quantile(positive, 0.9)) if len(positive) else image)


def _strength_and_slope(pixel: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value (N,) and slope (N, 2) of an image at pixels (N, 2), as the backward pass of votes there."""
    place = torch.from_numpy(np.ascontiguousarray(pixel, float)).requires_grad_()
    votes = torch.ones(len(pixel), dtype=torch.float64, requires_grad=True)
    bin_events(place, votes, (image.shape[0], image.shape[1])).backward(torch.from_numpy(image.astype(float)))
    assert place.grad is not None
    assert votes.grad is not None
    return votes.grad.numpy(), place.grad.numpy()
