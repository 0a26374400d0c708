"""Bin kernels and what the backward pass sees of them: the B-spline ladder.

A uniform B-spline of degree p is the bin kernel k; functional backpropagation (FBP, arXiv 2602.12590) replaces
its formal derivative by that of kappa = l * k. With linear reconstruction l (a B-spline of degree 1), kappa is the
B-spline of degree p + 2: rect 0 -> 2, linear 1 -> 3, quadratic 2 -> 4, cubic 3 -> 5. The raw estimator is p -> p.
"""

from __future__ import annotations

from dataclasses import dataclass

from evslam.errors import ConfigError

DEGREE = {"rect": 0, "linear": 1, "quadratic": 2, "cubic": 3}
GRADIENTS = ("functional", "raw")


@dataclass(frozen=True)
class SplineKernel:
    """A separable kernel f with the derivative rule of the binning layer.

    The value kernel is the B-spline of degree `value_degree` on every axis. As soon as one axis is differentiated
    (`order` counts the derivatives per axis), every axis uses the B-spline of degree `gradient_degree`.
    """

    value_degree: int
    gradient_degree: int
    order: tuple[int, ...]

    @property
    def degree(self) -> int:
        return self.gradient_degree if any(self.order) else self.value_degree

    def derivative(self, axis: int) -> SplineKernel:
        """The kernel that stands for the derivative of this one along `axis` (0 is x)."""
        order = tuple(n + (i == axis) for i, n in enumerate(self.order))
        return SplineKernel(self.value_degree, self.gradient_degree, order)


def spline_kernel(kernel: str, gradient: str, reconstruction: str, ndim: int) -> SplineKernel:
    """Kernel by name.

    Args:
        kernel: rect, linear, quadratic or cubic.
        gradient: functional (kappa = l * k) or raw (formal derivative of k; zero for rect).
        reconstruction: the reconstruction kernel l of the functional estimator; linear.
        ndim: dimensions of the histogram, 1 to 3.

    Raises:
        ConfigError: a name that does not exist.
    """
    if kernel not in DEGREE:
        raise ConfigError(f"bin kernel {kernel!r} does not exist; choose one of {', '.join(DEGREE)}")
    if gradient not in GRADIENTS:
        raise ConfigError(f"gradient estimator {gradient!r} does not exist; choose one of {', '.join(GRADIENTS)}")
    if reconstruction != "linear":
        raise ConfigError(f"reconstruction kernel {reconstruction!r} does not exist; choose linear")
    if ndim not in (1, 2, 3):
        raise ConfigError(f"coordinates have {ndim} dimensions; bin_events takes 1, 2 or 3")
    value = DEGREE[kernel]
    return SplineKernel(value, value + 2 if gradient == "functional" else value, (0,) * ndim)
