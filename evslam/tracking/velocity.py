"""Motion of one event batch: the twist that makes its image of warped events sharpest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from evslam.climb import FREE_PARAMETERS, PRIOR_WEIGHT, Level, climb, speed_prior
from evslam.errors import SolverError
from evslam.geometry.camera import Camera
from evslam.objective import BatchContrast, MotionProblem, Prior, objective_by_name
from evslam.ops.kernels import bin_kernel
from evslam.optim import Metric, maximise
from evslam.settings import BatchConfig, TrackerConfig
from evslam.types import EventBatch, TrackingState
from evslam.warp import Canvas


@dataclass(frozen=True)
class VelocityEstimate:
    """Twist (6,) float64 at t_ref, tracking state, contrast gain over the uncompensated batch, evaluations spent, and
    the covariance (6, 6) of the twist: zero for parameters that are not free, NaN where it was not measured.
    """

    twist: np.ndarray
    state: TrackingState
    gain: float
    evaluations: int
    covariance: np.ndarray = field(default_factory=lambda: np.full((6, 6), np.nan))


class VelocityTracker:
    """Contrast maximisation per batch, warm-started, coarse to fine when the motion is unknown.

    Args:
        camera: calibrated camera.
        config: tracker configuration.
        limits: batches below its min_events or min_share are not measured.
        mode: rotation estimates omega (SO(3)); 6dof estimates (v, omega) (SE(3)) in front of a plane at unit depth,
            so that v is in scene depths per second.
    """

    def __init__(self, camera: Camera, config: TrackerConfig, limits: BatchConfig, mode: str) -> None:
        self.camera = camera
        self.config = config
        self.limits = limits
        self.mode = mode
        self.free = FREE_PARAMETERS[mode]
        # refuse unknown names before the first batch
        bin_kernel(config.kernel, config.gradient, "linear", 2)
        objective_by_name(config.objective)
        self.event_rate = 0.0  # events/s of tracked batches, falling slowly
        self.curvature: np.ndarray | None = None  # of the last maximisation: a good guess for the next

    def contrast(self, batch: EventBatch, scale: float = 1.0, coarse: bool = False) -> BatchContrast:
        """The objective of a batch on a canvas at `scale` of the sensor's resolution; coarse: blurred and wider."""
        config = self.config
        margin, blur = (config.coarse_margin, config.coarse_blur) if coarse else (config.margin, 0.0)
        canvas, measure = Canvas.from_camera(self.camera, margin, scale), objective_by_name(config.objective, blur)
        inverse_depth = 0.0 if self.mode == "rotation" else 1.0
        return BatchContrast(batch, canvas, config.kernel, config.gradient, measure, inverse_depth)

    def estimate(self, batch: EventBatch, prior: np.ndarray, warm: bool) -> VelocityEstimate:
        """Estimate the twist of a batch.

        Args:
            batch: undistorted events.
            prior: (6,) twist that the motion model expects.
            warm: True when the prior comes from a tracked batch: the search starts there, and once more from zero,
                coarse to fine, when the events do not support what it found. False: from zero only.

        Returns:
            TRACKING with the twist. Otherwise the prior, and SPARSE when there are too few events or the rate of
            events has dropped (a camera at rest sees noise), LOST when many events do not move together.
        """
        duration = batch.duration_s
        limits = self.limits
        share = max(batch.num_events / limits.num_events, duration / limits.max_duration_s)
        if batch.num_events < limits.min_events or (share < limits.min_share and not batch.whole):
            return VelocityEstimate(prior, TrackingState.SPARSE, 1.0, 0)
        evaluations, at = 0, cache(partial(self.contrast, batch.thinned(self.config.max_events)))
        for start in (prior, None) if warm else (None,):
            try:
                twist, spent = self._search(at, start)
            except SolverError:  # no event is left on the canvas at the start
                continue
            evaluations += spent
            still, moved = (at().problem().value(each) for each in (np.zeros(6), twist))
            gain = moved / max(still, 1e-12)
            if self._supported(at(), twist, gain, moved):
                self.event_rate = max(batch.num_events / duration, 0.9 * self.event_rate)
                covariance = self._covariance(at(self.config.warm_scales[-1], False), twist)
                return VelocityEstimate(twist, TrackingState.TRACKING, gain, evaluations, covariance)
        quiet = batch.num_events / duration < self.config.quiet_share * self.event_rate
        return VelocityEstimate(prior, TrackingState.SPARSE if quiet else TrackingState.LOST, 1.0, evaluations)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        curvature = None if self.curvature is None else torch.from_numpy(self.curvature)
        return {"curvature": curvature, "event_rate": self.event_rate}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another tracker."""
        self.curvature = None if state["curvature"] is None else state["curvature"].numpy()
        self.event_rate = state["event_rate"]

    def _search(self, at: Callable[..., BatchContrast], prior: np.ndarray | None) -> tuple[np.ndarray, int]:
        """Climb to the nearest maximum, scale by scale; returns the twist and the evaluations spent.

        Args:
            at: the batch's contrast at a scale, coarse or not.
            prior: (6,) where to start; None for zero.
        """
        twist = np.zeros(6) if prior is None else prior.copy()
        known = None if prior is None else self.curvature
        method = "newton" if known is None else "bfgs"  # bfgs is faster, given a curvature to begin with

        def level(scale: float, coarse: bool, parameters: np.ndarray) -> Level:
            twist[self.free] = parameters
            contrast = at(scale, coarse)
            metric = self._metric(contrast)
            problem = self._problem(contrast, metric, twist, (twist if prior is None else prior)[self.free])
            return Level(problem, metric, self.config.step_tolerance_px * contrast.canvas.fx / self.camera.fx)

        scales = self.config.start_scales if prior is None else self.config.warm_scales
        solver = partial(maximise, curvature=known, method=method)
        optima = climb(scales, level, twist[self.free], solver, self.config.max_evaluations)
        self.curvature, twist[self.free] = optima[-1].curvature, optima[-1].parameters
        return twist, sum(each.evaluations for each in optima)

    def _problem(
        self, contrast: BatchContrast, metric: Metric, twist: np.ndarray, expected: np.ndarray
    ) -> MotionProblem:
        """Contrast over that at `twist`, less the prior on the change of motion and on speed in 6-DoF mode."""
        plain = contrast.problem()
        scale = max(plain.value(twist), 1e-12)  # zero when no event falls on the canvas
        if self.mode == "rotation":
            return MotionProblem(plain, twist, self.free, scale)
        change = PRIOR_WEIGHT / self.config.prior_px**2 * metric.upper.T @ metric.upper
        priors = Prior(change, expected), speed_prior(self.config.prior_speed, self.free)
        return MotionProblem(plain, twist, self.free, scale, priors)

    def _covariance(self, contrast: BatchContrast, twist: np.ndarray) -> np.ndarray:
        """Inverse of minus the Hessian of N log contrast, as if that were a log likelihood; (6, 6).

        On three simulated recordings the median squared normalised error is 0.9 to 1.7 times that of a normal
        distribution (`python -m evslam.eval.bench.covariance`). NaN where the contrast has no maximum.
        """
        value, _, bend = contrast.problem().hessian(twist)
        information = -contrast.batch.num_events * bend[self.free, self.free] / max(value, 1e-12)
        out = np.zeros((6, 6))
        if np.isfinite(information).all() and np.linalg.eigvalsh(information).min() > 0:
            out[self.free, self.free] = np.linalg.inv(information)
        else:
            out[self.free, self.free] = np.nan
        return out

    def _metric(self, contrast: BatchContrast) -> Metric:
        """Mean square displacement in bins per unit of each free parameter, over the batch's events."""
        return Metric.from_gram(torch.from_numpy(contrast.displacement_gram()[self.free, self.free]))

    def _supported(self, contrast: BatchContrast, twist: np.ndarray, gain: float, value: float) -> bool:
        """Whether the events move together: sharper than at rest, and than the same motion with shuffled time stamps.

        Unlike the uncompensated image, the shuffled one has the same hot pixels, lens and pixel grid, so that these
        are not mistaken for structure. Motions too small to tell are taken as they are.
        """
        displacement = float(np.linalg.norm(self._metric(contrast).scale(twist[self.free])))
        if displacement < self.config.min_displacement_px:
            return True
        if gain < 1:
            return False
        batch = contrast.batch
        order = torch.randperm(batch.num_events, generator=torch.Generator().manual_seed(0)).to(batch.t.device)
        shuffled = self.contrast(replace(batch, t=batch.t[order]))
        return value > self.config.min_support * shuffled.problem().value(twist)
