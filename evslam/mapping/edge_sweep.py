"""Depth of a keyframe's edges: each ridge point is placed where the edge images of other views agree on an edge."""

from __future__ import annotations

import cv2
import numpy as np

from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_kernels import ridges, thinned
from evslam.mapping.sweep_kernels import peaks, sweep
from evslam.multiview.edges import EdgeImage, EdgePoints

_MAX_RIDGES = 20000
_TANGENT_BLUR_PX = 1.0
_RANGE = (0.03, 0.97)  # quantiles of the sparse points' inverse depths


def sweep_edges(
    imager: EdgeImager,
    host: EdgeImage,
    views: list[EdgeImage],
    T_view_host: np.ndarray,
    depth_range: tuple[float, float],
) -> EdgePoints:
    """Depth of the host's ridge points.

    Args:
        imager: canvas, valid pixels and thresholds.
        host: edge image of the keyframe.
        views: edge images of its neighbours, 11 to 21 are enough.
        T_view_host: (V, 4, 4) poses of the host in the views.
        depth_range: smallest and largest inverse depth that is tried.

    Returns:
        The points whose depth is told clearly; few or none if the views lie too close together.
    """
    config, canvas = imager.config, imager.canvas
    pixel = ridge_points(imager, host)
    planes = np.geomspace(*depth_range, config.planes)
    score = np.empty((len(pixel), config.planes), np.float32)
    place, width, margin = (np.zeros(len(pixel)) for _ in range(3))
    if len(pixel) and len(views):
        fewest = min(config.min_views, len(views))
        settings = np.array([canvas.focal, *canvas.centre, fewest], np.float32)
        bearing, strength = canvas.bearings(pixel).astype(np.float32), np.stack([view.strength for view in views])
        T, rho = T_view_host.astype(np.float32), planes.astype(np.float32)
        sweep(bearing, rho, T, strength, imager.valid, tuple(settings), score)
        peaks(score, config.peak_planes, config.min_peak, config.min_margin, place, width, margin)
    step = np.log(planes[1] / planes[0])
    inverse_depth = planes[0] * np.exp(step * place)
    sigma = config.sigma_width * step * width * inverse_depth
    points = EdgePoints(pixel, inverse_depth, sigma, tangents(host.band, pixel), margin)
    return points[margin > 0]


def sweep_range(inverse_depth: np.ndarray, factor: float) -> tuple[float, float]:
    """Inverse depths to sweep: those of sparse points (N,), N > 0, but for the outermost ones, widened by a factor."""
    low, high = np.quantile(inverse_depth, _RANGE)
    return float(low / factor), float(high * factor)


def ridge_points(imager: EdgeImager, host: EdgeImage) -> np.ndarray:
    """(N, 2) float64 subpixel places on ridges of an edge image, evenly thinned."""
    out = np.empty((_MAX_RIDGES, 2))
    found = ridges(host.band, imager.valid, imager.config.min_ridge, out)
    return out[thinned(found, imager.config.max_ridges)]


def tangents(band: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """(N, 2) unit vectors along the ridges at pixels (N, 2): where the band-passed image bends least."""
    smooth = cv2.GaussianBlur(band, (0, 0), _TANGENT_BLUR_PX)
    column, row = np.rint(pixel).astype(int).T
    xx, xy, yy = (cv2.Sobel(smooth, cv2.CV_32F, *order)[row, column] for order in ((2, 0), (1, 1), (0, 2)))
    angle = 0.5 * np.arctan2(2 * xy.astype(float), xx - yy)  # of the eigenvector with the larger eigenvalue
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def spread(points: EdgePoints, cell_px: int, most: int) -> EdgePoints:
    """The most confident point of each image cell, at most `most` of them."""
    order = np.argsort(-points.confidence, kind="stable")
    column, row = (points.pixel[order] // cell_px).astype(np.int64).T
    _, first = np.unique(row * (1 << 16) + column, return_index=True)
    return points[order[np.sort(first)[:most]]]
