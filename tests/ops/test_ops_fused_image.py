"""Measures of images and the vector type that the fused kernels are written in."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from scipy import ndimage, stats

from evslam.ops import fused_image, fused_simd
from evslam.ops.fused_bins import Grid
from evslam.ops.fused_image import MEASURES, PROBABILITY, SHAPE, blur, curvature_of, gauss_taps, slope_of
from evslam.ops.fused_simd import floor, lane, load, pair_total, splat, store, total, where_between

GRID = Grid(9, 13, 2)


def padded(image: np.ndarray) -> np.ndarray:
    flat = GRID.zeros(image.dtype)
    GRID.image(flat)[:] = image
    return flat


def counts(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(0.8, (9, 13)) * 1.0


@pytest.mark.parametrize("name", MEASURES)
def test_slope_and_curvature_by_finite_differences(name: str) -> None:
    """Along eight directions of channels, of which six are used."""
    image, size, step = counts() + 0.3, 6, 1e-5
    directions = GRID.zeros(image.dtype, 8)
    along = np.random.default_rng(1).normal(size=(9, 13, 8))
    directions[: -16 * 8].reshape(GRID.rows, GRID.stride, 8)[3:12, 3:16] = along
    slopes = [GRID.zeros(image.dtype) for _ in range(3)]
    slope_of(name, padded(image), slopes[0], GRID)
    bend = curvature_of(name, padded(image), directions, GRID, size)
    for a in range(size):
        up, down = (
            slope_of(name, padded(image + sign * step * along[..., a]), slopes[1 + (sign < 0)], GRID)
            for sign in (1, -1)
        )
        first = (GRID.image(slopes[0]) * along[..., a]).sum()
        assert (up - down) / (2 * step) == pytest.approx(first, rel=1e-6, abs=1e-9)
        change = (GRID.image(slopes[1]) - GRID.image(slopes[2])) / (2 * step)
        expected = [(change * along[..., b]).sum() for b in range(size)]
        assert bend[a] == pytest.approx(expected, rel=1e-5, abs=1e-8)


def test_values_by_numpy_and_scipy() -> None:
    image, slope = counts(), GRID.zeros(np.dtype(np.float64))
    dx, dy = (0.5 * (image[1:-1, 2:] - image[1:-1, :-2])), (0.5 * (image[2:, 1:-1] - image[:-2, 1:-1]))
    expected = {
        "variance": image.var(),
        "mean_square": (image**2).mean(),
        "gradient_magnitude": (dx**2 + dy**2).mean(),
        "log_likelihood": stats.nbinom.logpmf(image, SHAPE, 1 - PROBABILITY).mean(),
    }
    assert {name: slope_of(name, padded(image), slope, GRID) for name in MEASURES} == pytest.approx(expected)


def test_votes_in_the_padding_do_not_count() -> None:
    image = padded(counts())
    beside = image + 7.0
    GRID.image(beside)[:] = counts()
    for name in MEASURES:
        slopes = GRID.zeros(image.dtype), GRID.zeros(image.dtype)
        assert slope_of(name, beside, slopes[0], GRID) == slope_of(name, image, slopes[1], GRID)
        assert np.array_equal(*slopes)
        outside = slopes[0].copy()
        GRID.image(outside)[:] = 0
        assert not outside.any()


@pytest.mark.parametrize("sigma", [0.4, 1.0, 5.0])
def test_blur_is_scipys_and_its_own_adjoint(sigma: float) -> None:
    """At 5 bins the taps are wider than the image."""
    taps = gauss_taps(sigma, np.dtype(np.float64))
    assert taps.sum() == pytest.approx(1)
    first, second = counts(1), counts(2)
    out = [GRID.zeros(first.dtype) for _ in range(2)]
    for image, target in zip((first, second), out, strict=True):
        blur(padded(image), target, taps, GRID)
    expected = ndimage.correlate1d(ndimage.correlate1d(first, taps, 0, mode="constant"), taps, 1, mode="constant")
    assert np.abs(GRID.image(out[0]) - expected).max() < 1e-12
    assert (GRID.image(out[0]) * second).sum() == pytest.approx((first * GRID.image(out[1])).sum())


def test_blur_of_channels_is_the_blur_of_each() -> None:
    taps = gauss_taps(0.7, np.dtype(np.float64))
    channels = GRID.zeros(np.dtype(np.float64), 4)
    inner = channels[: -16 * 4].reshape(GRID.rows, GRID.stride, 4)[3:12, 3:16]
    for channel in range(4):
        inner[..., channel] = counts(channel)
    out = np.zeros_like(channels)
    blur(channels, out, taps, GRID, 4)
    for channel in range(4):
        single = GRID.zeros(np.dtype(np.float64))
        blur(padded(counts(channel)), single, taps, GRID)
        assert np.array_equal(
            out[: -16 * 4].reshape(GRID.rows, GRID.stride, 4)[3:12, 3:16, channel], GRID.image(single)
        )


def test_likelihood_between_the_integers() -> None:
    """Against mpmath-free identities: digamma and trigamma by differences of the value."""
    at = numba.njit(lambda count: fused_image.log_likelihood_at(count))
    for count in (0.0, 0.2, 1.0, 7.5, 400.0):
        step = 1e-4 * (0.1 + count)
        low, value, high = at(max(count - step, -0.05)), at(count), at(count + step)
        if count:
            assert (high[0] - low[0]) / (2 * step) == pytest.approx(value[1], rel=1e-5)
            assert (high[1] - low[1]) / (2 * step) == pytest.approx(value[2], rel=1e-5)


@numba.njit(fastmath={"contract"})
def _exercise(values: np.ndarray, out: np.ndarray, whole: np.ndarray) -> tuple[float, float]:
    x = load(values, 1, 8)
    y = 2 * x - x / 4 + 1.0
    store(out, 0, where_between(x, 2.0, 6.0, y, -x))
    store(whole, 0, floor(x) * 1.0)
    store(out, 8, pair_total(x, y))
    store(out, 10, splat(values[0], x))
    return total(x), lane(y, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vectors_calculate_like_numpy(dtype: type) -> None:
    values = np.array([9, 0.5, 1.5, 2.0, 3.25, 5.999, 6.0, -1.25, np.nan], dtype)
    out, whole = np.zeros(18, dtype), np.zeros(8, np.int32)
    found = _exercise(np.nan_to_num(values, nan=4.5), out, whole)
    x = np.nan_to_num(values, nan=4.5)[1:]
    y = 1.75 * x + 1
    assert out[:8] == pytest.approx(np.where((x >= 2) & (x < 6), y, -x))
    assert whole.tolist() == np.floor(x).tolist()
    assert out[8:10] == pytest.approx([x.sum(), y.sum()])
    assert out[10:].tolist() == [9] * 8
    assert found == pytest.approx((x.sum(), y[3]))
    _exercise(values, out, whole)
    assert np.isnan(out[7])  # not a number is outside


def test_a_scalar_beside_a_vector_takes_its_type() -> None:
    assert fused_simd.Lanes(numba.float32, 8).dtype is numba.float32
    values = np.full(9, 0.1, np.float32)
    out, whole = np.zeros(18, np.float32), np.zeros(8, np.int32)
    assert _exercise(values, out, whole)[1] == np.float32(1.75 * np.float32(0.1) + 1)
