"""Bin kernels, gradient estimators and what the backward pass sees of them.

The forward pass bins with k. The backward pass replaces the formal derivative of k by that of a second function, the
gradient kernel g; which one is the estimator:

    functional        g = l * k, l the reconstruction kernel (functional backpropagation, FBP, arXiv 2602.12590)
    raw               g = k, the formal derivative (zero for rect; jumps of a cut Gauss contribute nothing)
    straight_through  g = linear B-spline: the derivative of bilinear voting passes through whatever bin was used
                      (Bengio et al., arXiv 1308.3432)
    sigmoid           g(x) = sigma((x + 1/2) / T) - sigma((x - 1/2) / T), the rect bin with its two steps smoothed,
                      T = 1/4 bin, cut at 4.5 bins (its taps sum to 1 within 1.2e-7)

The last two are there for comparison, in the definitions given here. g stands on every axis as soon as one axis is
differentiated, so gradients are those of the smooth objective that bins with g, and second derivatives are its second
derivatives.

Kernels k (x in bins, sigma = 1 bin): B-splines rect (degree 0), linear, quadratic, cubic; gauss, exp(-x^2 / 2) /
sqrt(2 pi) cut at 4 sigma; gauss_cut, the same cut at 1.5 sigma as in the paper's code. Neither is renormalised:
the integrals are 0.99994 and 0.86639. Reconstructions l: linear; cubic (Keys 1981, a = -1/2); lanczos, sinc(x) sinc(x /
2) for |x| < 2 divided by the sum of its taps. Every l sums to 1 over its taps, so the taps of l * k sum to the integral
of k at every position and those of its derivatives to 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from evslam.errors import ConfigError
from evslam.ops.pieces import Pieces, bspline, convolve, fit

DEGREE = {"rect": 0, "linear": 1, "quadratic": 2, "cubic": 3}
KERNELS = (*DEGREE, "gauss", "gauss_cut")
GRADIENTS = ("functional", "raw", "straight_through", "sigmoid")
RECONSTRUCTIONS = ("linear", "cubic", "lanczos")
TEMPERATURE = 0.25  # of the sigmoid estimator, in bins


@dataclass(frozen=True)
class BinKernel:
    """A separable kernel f with the derivative rule of the binning layer.

    Attributes:
        value: profile of the bin kernel k.
        slope: profile of the gradient kernel g, which every axis has as soon as one axis is differentiated.
        order: derivatives per axis (x, y, t).
    """

    value: str
    slope: str
    order: tuple[int, ...]

    @property
    def profile(self) -> str:
        """Name of the one-dimensional function of which f is the product over the axes."""
        return self.slope if any(self.order) else self.value

    def derivative(self, axis: int) -> BinKernel:
        """The kernel that stands for the derivative of this one along `axis` (0 is x)."""
        order = tuple(n + (i == axis) for i, n in enumerate(self.order))
        return BinKernel(self.value, self.slope, order)


def bin_kernel(kernel: str, gradient: str, reconstruction: str, ndim: int) -> BinKernel:
    """Kernel by name.

    Args:
        kernel: rect, linear, quadratic, cubic, gauss or gauss_cut.
        gradient: functional, raw, straight_through or sigmoid.
        reconstruction: l of the functional estimator: linear, cubic or lanczos. The others do not use it.
        ndim: dimensions of the histogram, 1 to 3.

    Raises:
        ConfigError: a name that does not exist.
    """
    if kernel not in KERNELS:
        raise ConfigError(f"bin kernel {kernel!r} does not exist; choose one of {', '.join(KERNELS)}")
    if gradient not in GRADIENTS:
        raise ConfigError(f"gradient estimator {gradient!r} does not exist; choose one of {', '.join(GRADIENTS)}")
    if reconstruction not in RECONSTRUCTIONS:
        raise ConfigError(
            f"reconstruction kernel {reconstruction!r} does not exist; choose one of {', '.join(RECONSTRUCTIONS)}"
        )
    if ndim not in (1, 2, 3):
        raise ConfigError(f"coordinates have {ndim} dimensions; bin_events takes 1, 2 or 3")
    slopes = {
        "functional": f"{reconstruction}*{kernel}",
        "raw": kernel,
        "straight_through": "linear",
        "sigmoid": "sigmoid",
    }
    return BinKernel(kernel, slopes[gradient], (0,) * ndim)


@lru_cache
def profile(name: str) -> Pieces:
    """One-dimensional function by name: a bin kernel, `sigmoid`, or `l*k` for a reconstruction l and a bin kernel k."""
    if "*" in name:
        reconstruction, kernel = name.split("*")
        if reconstruction == "linear" and kernel in DEGREE:
            return bspline(DEGREE[kernel] + 2)
        return convolve(_reconstruction(reconstruction), profile(kernel))
    if name in DEGREE:
        return bspline(DEGREE[name])
    function, taps = _SMOOTH[name]
    return fit(function, taps)


@lru_cache
def _reconstruction(name: str) -> Pieces:
    return {"linear": lambda: bspline(1), "cubic": lambda: fit(_keys, 4), "lanczos": lambda: fit(_lanczos, 4)}[name]()


def _gauss(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    low, high = ((x + side) / (2 * TEMPERATURE) for side in (0.5, -0.5))
    return 0.5 * (np.tanh(low) - np.tanh(high))


def _keys(x: np.ndarray) -> np.ndarray:
    """Keys, Cubic convolution interpolation, 1981, eq. 15."""
    x = np.abs(x)
    return np.where(x < 1, (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2)


def _lanczos(x: np.ndarray) -> np.ndarray:
    rest = x - np.floor(x)
    total = sum(np.sinc(rest + m) * np.sinc((rest + m) / 2) for m in range(-2, 2))
    return np.sinc(x) * np.sinc(x / 2) / total


_SMOOTH: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
    "gauss": (_gauss, 8),
    "gauss_cut": (_gauss, 3),
    "sigmoid": (_sigmoid, 9),
}
