"""Piecewise polynomials on unit spans: the one form in which the binning layer computes every kernel.

A kernel f with support [-n / 2, n / 2) touches n bins, so its knots lie at the integers (n even) or half-way between
them (n odd). With s in [-1/2, 1/2) the position inside the span, tap i sees

    f(s + (n - 1) / 2 - i) = sum_k c[i, k] s^k,    i = 0 .. n - 1.

B-splines have this form exactly; every other kernel is smooth inside its spans and is interpolated in Chebyshev points
to rounding error. Convolutions of two such functions are such functions (Gauss-Legendre quadrature is exact for
polynomials), and so are derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial import chebyshev, legendre, polynomial

_DEGREE = 32  # of the interpolation before it is cut back
_ROUNDING = 1e-15  # coefficients below this, relative to the largest, are rounding error


@lru_cache
def tap_polynomials(degree: int, order: int) -> np.ndarray:
    """Tap weights of the uniform B-spline as polynomials in the position s in [0, 1) within the knot span.

    Recursion: w_i <- ((s + q - i) w_{i-1} + (1 - s + i) w_i) / q for q = 1 .. degree - order, then each derivative
    maps w_i <- w_{i-1} - w_i.

    Args:
        degree: of the spline, 0 (rect) or more. order: of the derivative.

    Returns:
        (degree + 1, degree + 1) float64; row i holds the coefficients of tap i, constant first.
    """
    size = degree + 1
    weights = np.zeros((size, size))
    if order > degree:
        return weights
    weights[0, 0] = 1.0
    for q in range(1, size - order):
        before, weights = weights, np.zeros((size, size))
        for i in range(q + 1):
            left = before[i - 1] if i > 0 else np.zeros(size)
            right = before[i]
            weights[i] = ((q - i) * left + np.roll(left, 1) + (1 + i) * right - np.roll(right, 1)) / q
    for _ in range(order):
        weights = np.vstack([np.zeros((1, size)), weights[:-1]]) - weights
    return weights


@dataclass(frozen=True, eq=False)
class Pieces:
    """A function that is a polynomial on each of its unit spans.

    Attributes:
        coefficients: (taps, terms) float64; row i belongs to tap i, in powers of s in [-1/2, 1/2), constant first.
    """

    coefficients: np.ndarray

    @property
    def taps(self) -> int:
        """Number of bins an event touches per axis; the support is [-taps / 2, taps / 2)."""
        return len(self.coefficients)

    @property
    def mass(self) -> float:
        """Integral of the function."""
        powers = np.arange(self.coefficients.shape[1])
        return float((self.coefficients @ ((1 + (-1.0) ** powers) / (powers + 1) * 0.5 ** (powers + 1))).sum())

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Values (same shape) at any x; 0 outside the support."""
        position = self.taps / 2 - np.asarray(x, dtype=float)
        tap = np.ceil(position).astype(int) - 1
        inside = (tap >= 0) & (tap < self.taps)
        rows = self.coefficients[np.where(inside, tap, 0)]
        s = tap + 0.5 - position
        return np.where(inside, (rows * s[..., None] ** np.arange(rows.shape[-1])).sum(-1), 0.0)

    def derivative(self, order: int) -> Pieces:
        """Derivative inside the spans; jumps at knots (rect, cut Gauss) contribute nothing."""
        return Pieces(_padded(polynomial.polyder(self.coefficients, order, axis=1)) if order else self.coefficients)

    def table(self, orders: int, dtype: np.dtype) -> np.ndarray:
        """Coefficients of the derivatives 0 .. orders for a compiled kernel, (orders + 1, taps, terms).

        In single precision, terms that change no value by more than 1e-8 are economised away.
        """
        tables = [self.derivative(order).coefficients for order in range(orders + 1)]
        if np.dtype(dtype).itemsize < 8:
            tables = [_economised(each, 1e-8) for each in tables]
        terms = max(each.shape[1] for each in tables)
        return np.stack([_padded(each, terms) for each in tables]).astype(dtype)


def bspline(degree: int) -> Pieces:
    """Uniform centred B-spline: rect, linear, quadratic, cubic ... for degree 0, 1, 2, 3 ...; exact."""
    rows = [polynomial.Polynomial(row)(polynomial.Polynomial([0.5, 1.0])).coef for row in tap_polynomials(degree, 0)]
    return Pieces(np.stack([np.pad(row, (0, degree + 1 - len(row))) for row in rows]))


def fit(function: Callable[[np.ndarray], np.ndarray], taps: int) -> Pieces:
    """Interpolation, to rounding error, of a function that is smooth inside each of its `taps` unit spans."""
    nodes = 0.5 * chebyshev.chebpts1(_DEGREE + 1)
    centres = (taps - 1) / 2 - np.arange(taps)
    return _interpolated(function(centres[:, None] + nodes))


def convolve(a: Pieces, b: Pieces) -> Pieces:
    """(a * b)(x) = integral of a(t) b(x - t) dt, with a.taps + b.taps taps.

    For each pair of spans the integrand is a polynomial in t on the interval on which both hold, and Gauss-Legendre
    quadrature integrates it exactly; the result is a polynomial in x on each unit span.
    """
    terms = a.coefficients.shape[1] + b.coefficients.shape[1]
    nodes, weights = legendre.leggauss(terms // 2 + 1)
    taps = a.taps + b.taps
    x = ((taps - 1) / 2 - np.arange(taps))[:, None] + 0.5 * chebyshev.chebpts1(terms)
    total = np.zeros_like(x)
    for i in range(a.taps):
        centre_a = (a.taps - 1) / 2 - i
        for j in range(b.taps):
            centre_b = x - ((b.taps - 1) / 2 - j)
            low = np.maximum(centre_a - 0.5, centre_b - 0.5)
            length = np.maximum(np.minimum(centre_a + 0.5, centre_b + 0.5) - low, 0)
            t = low[..., None] + length[..., None] * (nodes + 1) / 2
            values = polynomial.polyval(t - centre_a, a.coefficients[i])
            values = values * polynomial.polyval(centre_b[..., None] - t, b.coefficients[j])
            total += length / 2 * (values @ weights)
    return _interpolated(total)


def _interpolated(values: np.ndarray) -> Pieces:
    """Polynomials through values (taps, points) at the Chebyshev points of each span."""
    points = values.shape[1]
    quarters = np.outer(2 * np.arange(points) + 1, np.arange(points)) % (4 * points)  # exact, so the angles are small
    series = values[:, ::-1] @ np.cos(quarters * (np.pi / (2 * points))) * (2 / points)
    series[:, 0] /= 2
    return Pieces(_monomials(_cut(series, _ROUNDING * np.abs(series).max())))


def _economised(coefficients: np.ndarray, tolerance: float) -> np.ndarray:
    scaled = coefficients * 0.5 ** np.arange(coefficients.shape[1])
    series = np.stack([_padded(chebyshev.poly2cheb(row)[None], scaled.shape[1])[0] for row in scaled])
    short = _cut(series, tolerance)
    return coefficients if short.shape == series.shape else _monomials(short)


def _cut(series: np.ndarray, tolerance: float) -> np.ndarray:
    """Drop the highest Chebyshev terms that lie within the tolerance on every span."""
    kept = np.nonzero(np.abs(series).max(0) > tolerance)[0]
    return series[:, : 1 + int(kept.max(initial=0))]


def _monomials(series: np.ndarray) -> np.ndarray:
    rows = np.stack([_padded(chebyshev.cheb2poly(row)[None], series.shape[1])[0] for row in series])
    return rows * 2.0 ** np.arange(rows.shape[1])


def _padded(rows: np.ndarray, terms: int = 1) -> np.ndarray:
    return np.pad(rows, ((0, 0), (0, max(0, terms - rows.shape[1]))))
