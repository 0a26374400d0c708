"""Motion of one event batch: the twist that makes its image of warped events sharpest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evslam.config import BatchConfig, TrackerConfig
from evslam.geometry.camera import Camera
from evslam.objective import BatchContrast, objective_by_name
from evslam.ops.kernels import spline_kernel
from evslam.optim import Limits, Metric, maximise
from evslam.types import EventBatch, TrackingState
from evslam.warp import Canvas, interaction_matrix

PRIOR_WEIGHT = 0.01  # contrast gain that one squared prior deviation is worth
FREE_PARAMETERS = {"rotation": slice(3, 6), "6dof": slice(0, 6)}


@dataclass(frozen=True)
class VelocityEstimate:
    """Twist (6,) float64 at t_ref, tracking state, contrast gain over the uncompensated batch, evaluations spent."""

    twist: np.ndarray
    state: TrackingState
    gain: float
    evaluations: int


class VelocityTracker:
    """Contrast maximisation per batch, warm-started, coarse to fine when the motion is unknown.

    Args:
        camera: calibrated camera.
        config: tracker configuration.
        limits: batches below its min_events or min_duration_s are not measured.
        mode: rotation estimates omega (SO(3)); 6dof estimates (v, omega) (SE(3)) in front of a plane at unit depth,
            so that v is in scene depths per second.
    """

    def __init__(self, camera: Camera, config: TrackerConfig, limits: BatchConfig, mode: str) -> None:
        self.camera = camera
        self.config = config
        self.limits = limits
        self.mode = mode
        self.free = FREE_PARAMETERS[mode]
        spline_kernel(config.kernel, config.gradient, "linear", 2)  # refuses unknown names before the first batch
        self.measure = objective_by_name(config.objective)
        self.curvature: np.ndarray | None = None  # of the last maximisation: a good guess for the next

    def contrast(self, batch: EventBatch, scale: float = 1.0) -> BatchContrast:
        """The objective of a batch on a canvas at `scale` of the sensor's resolution."""
        canvas = Canvas.from_camera(self.camera, self.config.margin, scale)
        inverse_depth = 0.0 if self.mode == "rotation" else 1.0
        return BatchContrast(batch, canvas, self.config.kernel, self.config.gradient, self.measure, inverse_depth)

    def estimate(self, batch: EventBatch, prior: np.ndarray, warm: bool) -> VelocityEstimate:
        """Estimate the twist of a batch.

        Args:
            batch: undistorted events.
            prior: (6,) twist that the motion model expects.
            warm: True when the prior comes from a tracked batch; else the search starts at zero, coarse to fine.

        Returns:
            The estimate; with too few events or too short a batch the prior itself and state SPARSE; LOST when a
            moving batch is not sharper than without compensation.
        """
        duration = (batch.stop_us - batch.start_us) * 1e-6
        if batch.num_events < self.limits.min_events or duration < self.limits.min_duration_s:
            return VelocityEstimate(prior, TrackingState.SPARSE, 1.0, 0)
        twist = prior.copy() if warm else np.zeros(6)
        evaluations = 0
        for scale in self.config.warm_scales if warm else self.config.start_scales:
            twist, spent = self._climb(self.contrast(batch, scale), twist, prior if warm else None)
            evaluations += spent
        return self._judge(batch, twist, evaluations)

    def state_dict(self) -> dict[str, Tensor | None]:
        """What `load_state_dict` needs to go on."""
        return {"curvature": None if self.curvature is None else torch.from_numpy(self.curvature)}

    def load_state_dict(self, state: dict[str, Tensor | None]) -> None:
        """Take over the state of another tracker."""
        curvature = state["curvature"]
        self.curvature = None if curvature is None else curvature.numpy()

    def _climb(self, contrast: BatchContrast, twist: np.ndarray, prior: np.ndarray | None) -> tuple[np.ndarray, int]:
        metric = self._metric(contrast)
        start = twist[self.free]
        fixed = contrast.batch.t.new_tensor(twist)
        with torch.no_grad():
            reference = contrast(fixed)
        expected = fixed.new_tensor((twist if prior is None else prior)[self.free])
        upper = fixed.new_tensor(metric.upper) / self.config.prior_px

        def objective(parameters: Tensor) -> Tensor:
            if self.mode == "rotation":
                return contrast(torch.cat([fixed[:3], parameters])) / reference
            change, speed = upper @ (parameters - expected), parameters[:3] / self.config.prior_speed
            penalty = change.square().sum() + speed.square().sum()
            return contrast(parameters) / reference - PRIOR_WEIGHT * penalty

        tolerance = self.config.step_tolerance_px * contrast.canvas.fx / self.camera.fx
        limits = Limits(tolerance, self.config.max_evaluations)
        known = None if prior is None else self.curvature
        optimum = maximise(objective, start, metric, limits, like=fixed, curvature=known)
        self.curvature = optimum.curvature
        moved = twist.copy()
        moved[self.free] = optimum.parameters
        return moved, optimum.evaluations

    def _metric(self, contrast: BatchContrast) -> Metric:
        """Mean square displacement in bins per unit of each free parameter, over the batch's events."""
        batch = contrast.batch
        jacobian = interaction_matrix(batch.bearing, contrast.inverse_depth)[:, :, self.free] * batch.t[:, None, None]
        jacobian = jacobian * jacobian.new_tensor([contrast.canvas.fx, contrast.canvas.fy])[:, None]
        return Metric.from_gram(torch.einsum("nip,niq->pq", jacobian, jacobian) / batch.num_events)

    def _judge(self, batch: EventBatch, twist: np.ndarray, evaluations: int) -> VelocityEstimate:
        contrast = self.contrast(batch)
        with torch.no_grad():
            still, moved = (float(contrast(batch.t.new_tensor(each))) for each in (np.zeros(6), twist))
        gain = moved / max(still, 1e-12)
        displacement = float(np.linalg.norm(self._metric(contrast).scale(twist[self.free])))
        lost = displacement > self.config.min_displacement_px and gain < self.config.min_gain
        state = TrackingState.LOST if lost else TrackingState.TRACKING
        return VelocityEstimate(twist, state, gain, evaluations + 2)
