"""How sharp an image of warped events is: the objectives of motion estimation.

The measures here are plain torch. `BatchContrast` chains them after warp and binning with autograd; its `problem`
gives the same numbers by the fused kernels of `evslam.ops.fused` wherever these apply.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from evslam.errors import ConfigError
from evslam.ops import bin_events
from evslam.ops.fused import Chain, FusedContrast
from evslam.ops.fused_image import PROBABILITY, SHAPE, gauss_taps
from evslam.ops.kernels import DEGREE
from evslam.problem import Problem, TorchProblem
from evslam.types import EventBatch
from evslam.warp import Canvas, interaction_matrix, warp_events

Measure = Callable[[Tensor], Tensor]


def variance(iwe: Tensor) -> Tensor:
    """Variance of the pixels of an event image (Gallego et al., CVPR 2018, eq. 5)."""
    return iwe.var(correction=0)


def mean_square(iwe: Tensor) -> Tensor:
    """Mean squared pixel value (Gallego et al., CVPR 2019)."""
    return iwe.square().mean()


def gradient_magnitude(iwe: Tensor) -> Tensor:
    """Mean squared magnitude of the image gradient by central differences (Gallego et al., CVPR 2019)."""
    dx = 0.5 * (iwe[1:-1, 2:] - iwe[1:-1, :-2])
    dy = 0.5 * (iwe[2:, 1:-1] - iwe[:-2, 1:-1])
    return (dx.square() + dy.square()).mean()


def log_likelihood(iwe: Tensor) -> Tensor:
    """Mean log likelihood of the pixels under a negative binomial (Gu et al., ICCV 2021).

    The events of a pixel are a Poisson process whose rate is gamma distributed (shape r, rate beta), so a count k has
    probability Gamma(k + r) / (Gamma(k + 1) Gamma(r)) (1 - q)^r q^k, q = 1 / (1 + beta); r = 0.1 and beta = 1.59 are
    the authors' values. Fractional counts take the gamma function between the integers.
    """
    gammas = torch.lgamma(iwe + SHAPE) - torch.lgamma(iwe + 1) - math.lgamma(SHAPE)
    return (gammas + SHAPE * math.log(1 - PROBABILITY) + iwe * math.log(PROBABILITY)).mean()


@dataclass(frozen=True)
class Blurred:
    """A measure after a Gaussian blur of `sigma` bins (cut at 4 sigma, zero beyond the image)."""

    measure: Measure
    sigma: float

    def __call__(self, iwe: Tensor) -> Tensor:
        """Measure of the blurred image (H, W)."""
        taps = torch.from_numpy(gauss_taps(self.sigma, np.dtype(np.float64))).to(iwe)
        reach = len(taps) // 2
        rows = torch.nn.functional.conv2d(iwe[None, None], taps[None, None, None], padding=(0, reach))
        return self.measure(torch.nn.functional.conv2d(rows, taps[None, None, :, None], padding=(reach, 0))[0, 0])


OBJECTIVES: dict[str, Measure] = {
    "variance": variance,
    "mean_square": mean_square,
    "gradient_magnitude": gradient_magnitude,
    "log_likelihood": log_likelihood,
}


def objective_by_name(name: str, blur: float = 0.0) -> Measure:
    """Measure by name, after a blur of so many bins; ConfigError when it does not exist."""
    if name not in OBJECTIVES:
        raise ConfigError(f"objective {name!r} does not exist; choose one of {', '.join(OBJECTIVES)}")
    return Blurred(OBJECTIVES[name], blur) if blur > 0 else OBJECTIVES[name]


@dataclass(frozen=True)
class BatchContrast:
    """Contrast of one event batch as a function of its twist.

    Attributes:
        batch: the events.
        canvas: image plane on which they are binned.
        kernel, gradient: of the binning layer.
        measure: contrast measure, one of OBJECTIVES, or such a one Blurred.
        inverse_depth: of every event, or (N,); 1 makes v a velocity in scene depths per second.
        reconstruction: kernel of the functional gradient; nothing is fused for others than the linear one.
    """

    batch: EventBatch
    canvas: Canvas
    kernel: str
    gradient: str
    measure: Measure
    inverse_depth: float | Tensor = 1.0
    reconstruction: str = "linear"

    def iwe(self, twist: Tensor) -> Tensor:
        """Image of warped events (H, W) for a twist (6,)."""
        warped = warp_events(self.batch.bearing, self.batch.t, twist, self.inverse_depth)
        coords = self.canvas.project(warped)
        return bin_events(
            coords, None, self.canvas.shape,
            kernel=self.kernel, gradient=self.gradient, reconstruction=self.reconstruction,
        )  # fmt: skip

    def __call__(self, twist: Tensor) -> Tensor:
        """Contrast (scalar), differentiable to the twist."""
        return self.measure(self.iwe(twist))

    def displacement_gram(self) -> np.ndarray:
        """Mean of J^T J (6, 6) over the events, J the derivative of their bins to the twist at zero twist."""
        if self._fused is not None:
            return self._fused.gram()
        jacobian = interaction_matrix(self.batch.bearing, self.inverse_depth) * self.batch.t[:, None, None]
        jacobian = jacobian * jacobian.new_tensor([self.canvas.fx, self.canvas.fy])[:, None]
        return (torch.einsum("nip,niq->pq", jacobian, jacobian) / max(self.batch.num_events, 1)).double().cpu().numpy()

    def problem(self) -> Problem:
        """The same function of the twist with derivatives: by fused kernels where these apply, else by autograd."""
        plain = TorchProblem(self, self.batch.t)
        return plain if self._fused is None else _AnyTurn(self._fused, plain)

    @cached_property
    def _fused(self) -> FusedContrast | None:
        """None on other devices, for other kernels and other measures."""
        measure, sigma = (
            (self.measure.measure, self.measure.sigma) if isinstance(self.measure, Blurred) else (self.measure, 0.0)
        )
        name = next((key for key, value in OBJECTIVES.items() if value is measure), None)
        batch, canvas = self.batch, self.canvas
        gradient_degree = {"functional": 2, "raw": 0}.get(self.gradient, -9) + DEGREE.get(self.kernel, -9)
        if (
            name is None
            or gradient_degree < 1
            or self.reconstruction != "linear"
            or not batch.t.is_cpu
            or batch.t.dtype not in (torch.float32, torch.float64)
        ):
            return None
        depth = torch.as_tensor(self.inverse_depth, dtype=batch.t.dtype).reshape(-1).numpy()
        focal, centre = (canvas.fx, canvas.fy), (canvas.cx, canvas.cy)
        chain = Chain(focal, centre, canvas.shape, DEGREE[self.kernel], gradient_degree, name, sigma)
        return FusedContrast(batch.bearing.numpy(), batch.t.numpy(), depth, chain)


@dataclass(frozen=True)
class _AnyTurn:
    """A fused contrast, and its twin by autograd where the fused series end and its value is not a number.

    No sensible motion turns so far within a batch, but the line search of an optimiser may ask for it.
    """

    fused: FusedContrast
    plain: Problem

    def value(self, twist: np.ndarray) -> float:
        """The objective."""
        found = self.fused.value(twist)
        return found if np.isfinite(found) else self.plain.value(twist)

    def gradient(self, twist: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient (6,)."""
        found = self.fused.gradient(twist)
        return found if np.isfinite(found[0]) else self.plain.gradient(twist)

    def hessian(self, twist: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Value, gradient and Hessian (6, 6)."""
        found = self.fused.hessian(twist)
        return found if np.isfinite(found[0]) else self.plain.hessian(twist)


@dataclass(frozen=True)
class Prior:
    """Penalty (x - mean)^T precision (x - mean) on the free parameters (P,)."""

    precision: np.ndarray
    mean: np.ndarray


@dataclass(frozen=True)
class MotionProblem:
    """Contrast over `scale`, less the priors, as a function of the free parameters: a `Problem` for `evslam.optim`.

    Attributes:
        contrast: of a batch, as a function of its twist.
        twist: (6,) values of the parameters that are not free.
        free: which are.
        scale: unit of the contrast.
        priors: penalties.
    """

    contrast: Problem
    twist: np.ndarray
    free: slice
    scale: float = 1.0
    priors: tuple[Prior, ...] = ()

    def value(self, parameters: np.ndarray) -> float:
        """The objective."""
        return self._penalised(self.contrast.value(self._all(parameters)), parameters)

    def gradient(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient (P,)."""
        value, slope = self.contrast.gradient(self._all(parameters))
        slope = slope[self.free] / self.scale
        for prior in self.priors:
            slope = slope - 2 * prior.precision @ (parameters - prior.mean)
        return self._penalised(value, parameters), slope

    def hessian(self, parameters: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Value, gradient and Hessian (P, P)."""
        value, slope, bend = self.contrast.hessian(self._all(parameters))
        slope, bend = slope[self.free] / self.scale, bend[self.free, self.free] / self.scale
        for prior in self.priors:
            slope = slope - 2 * prior.precision @ (parameters - prior.mean)
            bend = bend - 2 * prior.precision
        return self._penalised(value, parameters), slope, bend

    def _all(self, parameters: np.ndarray) -> np.ndarray:
        twist = self.twist.copy()
        twist[self.free] = parameters
        return twist

    def _penalised(self, value: float, parameters: np.ndarray) -> float:
        away = [parameters - prior.mean for prior in self.priors]
        return value / self.scale - sum(float(d @ p.precision @ d) for d, p in zip(away, self.priors, strict=True))
