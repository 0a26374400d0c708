"""The contrast of one packet of events as a function of the free part of its twist, and how it is maximised."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from evslam.climb import FREE_PARAMETERS, Level, Solver, speed_prior
from evslam.config import Config
from evslam.errors import ConfigError, SolverError
from evslam.geometry.camera import Camera
from evslam.objective import BatchContrast, MotionProblem, Prior, objective_by_name
from evslam.optim import OPTIMISERS, Metric, maximise
from evslam.types import EventBatch
from evslam.warp import Canvas


def optimiser_by_name(name: str) -> Solver:
    """One of `evslam.optim.OPTIMISERS`; ConfigError when it does not exist."""
    if name not in OPTIMISERS:
        raise ConfigError(f"optimiser {name!r} does not exist; choose one of {', '.join(OPTIMISERS)}")
    return OPTIMISERS[name]


@dataclass(frozen=True)
class Method:
    """How the motion of a packet is estimated.

    Attributes:
        motion: rotation (omega), translation (v) or 6dof (both).
        kernel, gradient, reconstruction: of the binning layer.
        objective: contrast measure.
        solver: maximiser.
        scales: image scales, coarse to fine; a warm start uses the last one alone.
        blur: standard deviation in bins of a Gaussian over the event image, 0 for none.
        margin: canvas beyond the sensor on each side, as a share of its width.
        coarse_blur, coarse_margin: the same on all scales but the last.
        max_evaluations: per scale.
        step_tolerance_px: stop when a step moves the events by less (RMS).
        prior_speed: standard deviation of v in scene depths per second; bounds v, which contrast alone lets run away.
            Infinite for none.
    """

    motion: str
    solver: Solver = maximise
    kernel: str = "quadratic"
    gradient: str = "functional"
    reconstruction: str = "linear"
    objective: str = "variance"
    scales: tuple[float, ...] = (0.125, 0.25, 0.5)
    blur: float = 0.0
    margin: float = 0.1
    coarse_blur: float = 1.0
    coarse_margin: float = 0.3
    max_evaluations: int = 40
    step_tolerance_px: float = 0.01
    prior_speed: float = 1.0

    def __post_init__(self) -> None:
        if self.motion not in FREE_PARAMETERS:
            raise ConfigError(f"motion {self.motion!r} does not exist; choose one of {', '.join(FREE_PARAMETERS)}")

    @staticmethod
    def from_config(config: Config, motion: str, optimiser: str) -> Method:
        """The tracker's settings for a motion and an optimiser."""
        tracker = config.tracker
        return Method(
            motion=motion,
            solver=optimiser_by_name(optimiser),
            kernel=tracker.kernel,
            gradient=tracker.gradient,
            objective=tracker.objective,
            scales=tuple(dict.fromkeys((*tracker.start_scales, tracker.warm_scales[-1]))),
            margin=tracker.margin,
            coarse_blur=tracker.coarse_blur,
            coarse_margin=tracker.coarse_margin,
            max_evaluations=tracker.max_evaluations,
            step_tolerance_px=tracker.step_tolerance_px,
            prior_speed=tracker.prior_speed,
        )

    @property
    def free(self) -> slice:
        """Components of the twist that are estimated."""
        return FREE_PARAMETERS[self.motion]


class PacketProblem:
    """Contrast of one packet over that of no motion, less the prior, as a function of its free parameters (P,).

    A `Problem` for `evslam.optim`.

    Args:
        batch: undistorted events.
        camera: calibrated camera.
        method: what to maximise.
        scale: image scale; one bin is 1 / scale pixels.
        coarse: whether the image has blur and margin of one that is not the last.
        inverse_depth: (N,) or scalar. A scalar 1 puts the scene on a plane, v is in its depths per second, and the
            prior on the speed applies; given depths make v metric.

    Attributes:
        contrast: as a function of the whole twist.
        metric: RMS event displacement in bins.
        tolerance: the method's step tolerance in bins.

    Raises:
        SolverError: no event lies on the canvas.
    """

    def __init__(
        self,
        batch: EventBatch,
        camera: Camera,
        method: Method,
        scale: float,
        inverse_depth: Tensor | float = 1.0,
        coarse: bool = False,
    ) -> None:
        free = method.free
        margin, blur = (method.coarse_margin, method.coarse_blur) if coarse else (method.margin, method.blur)
        canvas, measure = Canvas.from_camera(camera, margin, scale), objective_by_name(method.objective, blur)
        depth = 0.0 if method.motion == "rotation" else inverse_depth
        names = (method.kernel, method.gradient)
        self.contrast = BatchContrast(batch, canvas, *names, measure, depth, method.reconstruction)
        problem, rest = self.contrast.problem(), np.zeros(6)
        still = problem.value(rest)
        if not still > 0:
            when = f"{batch.t_ref_us * 1e-6:.6f} s"
            raise SolverError(f"no event of the packet at {when} lies on the canvas; check calibration and margin")
        self.metric = Metric.from_gram(torch.from_numpy(self.contrast.displacement_gram()[free, free]))
        self.tolerance = method.step_tolerance_px * canvas.fx / camera.fx
        on_a_plane = isinstance(inverse_depth, float)
        priors: tuple[Prior, ...] = (speed_prior(method.prior_speed, free),) if on_a_plane else ()
        self.problem = MotionProblem(problem, rest, free, still, priors)

    @property
    def level(self) -> Level:
        """The problem as one image of a climb."""
        return Level(self, self.metric, self.tolerance)

    def value(self, parameters: np.ndarray) -> float:
        """The objective."""
        return self.problem.value(parameters)

    def gradient(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient (P,)."""
        return self.problem.gradient(parameters)

    def hessian(self, parameters: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Value, gradient and Hessian (P, P)."""
        return self.problem.hessian(parameters)


class Watched:
    """A problem that notes what it is asked, in CPU seconds, so that other programs do not count.

    Attributes:
        values, seconds: of every evaluation, with or without gradient.
        hessians: how many; one at the point evaluated last is no further evaluation.
    """

    def __init__(self, problem: PacketProblem) -> None:
        self.problem = problem
        self.values: list[float] = []
        self.seconds: list[float] = []
        self.hessians = 0
        self.begin = time.process_time()
        self.last: np.ndarray | None = None

    def value(self, parameters: np.ndarray) -> float:
        """The objective."""
        return self._note(parameters, self.problem.value(parameters))

    def gradient(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient (P,)."""
        value, slope = self.problem.gradient(parameters)
        return self._note(parameters, value), slope

    def hessian(self, parameters: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Value, gradient and Hessian (P, P)."""
        value, slope, bend = self.problem.hessian(parameters)
        self.hessians += 1
        return self._note(parameters, value), slope, bend

    @property
    def level(self) -> Level:
        """The problem, watched, as one image of a climb."""
        return replace(self.problem.level, problem=self)

    def _note(self, parameters: np.ndarray, value: float) -> float:
        if self.last is None or not np.array_equal(self.last, parameters):
            self.last = parameters.copy()
            self.values.append(value)
            self.seconds.append(time.process_time() - self.begin)
        return value
