"""Constant-velocity motion model: predicts the twist of the next batch and integrates twists to poses."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from evslam.geometry.lie import SE3
from evslam.types import EventBatch, TrackingState


class ConstantVelocity:
    """Pose at the end of the last batch, and the twist that is expected to go on.

    Without measurement the twist decays with the time constant `rest_decay_s`: short gaps are bridged at constant
    velocity, a camera at rest (no events) keeps its pose for as long as the rest lasts.

    Attributes:
        T_world_cam: (7,) float64 pose at the end of the last batch; the world frame is the first camera frame.
        twist: (6,) float64 (v, omega) in the camera frame.
        state: of the last batch; STARTING until one was tracked.
    """

    def __init__(self, rest_decay_s: float) -> None:
        self.rest_decay_s = rest_decay_s
        self.T_world_cam = SE3.Identity(dtype=torch.float64)
        self.twist = np.zeros(6)
        self.state = TrackingState.STARTING

    @property
    def known(self) -> bool:
        """True when the twist comes from a measured batch that was not lost."""
        return self.state in (TrackingState.TRACKING, TrackingState.SPARSE)

    def advance(
        self, batch: EventBatch, twist: np.ndarray, state: TrackingState, bridge: np.ndarray | None = None
    ) -> Tensor:
        """Move to the end of a batch.

        Args:
            batch: its interval follows the last batch's without gap.
            twist: (6,) of this batch; ignored unless tracked: the last twist goes on and decays.
            state: of this batch.
            bridge: (6,) twist from elsewhere that holds where the batch is not tracked, instead of the decay.

        Returns:
            (7,) float64 T_world_cam at the batch's t_ref.
        """
        before, whole = (batch.t_ref_us - batch.start_us) * 1e-6, (batch.stop_us - batch.start_us) * 1e-6
        if state is TrackingState.TRACKING:
            start = self.twist = twist
        elif bridge is not None:
            start = self.twist = bridge
        else:
            start, tau = self.twist, self.rest_decay_s
            self.twist = start * np.exp(-whole / tau)
            before, whole = (-tau * np.expm1(-duration / tau) for duration in (before, whole))
        if state is TrackingState.TRACKING or self.state is not TrackingState.STARTING:
            self.state = state
        moves = SE3.exp(torch.from_numpy(np.outer([before, whole - before], start)))
        T_world_ref = self.T_world_cam * moves[0]
        self.T_world_cam = T_world_ref * moves[1]
        return T_world_ref.vec()

    def correct(self, T_world_cam: np.ndarray, omega: np.ndarray | None) -> None:
        """Replace the pose (7,) at the end of the last batch, and the angular velocity (3,) there if it is known."""
        self.T_world_cam = SE3.InitFromVec(torch.from_numpy(T_world_cam))
        if omega is not None:
            self.twist = np.concatenate([self.twist[:3], omega])

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {"T_world_cam": self.T_world_cam.vec(), "twist": torch.from_numpy(self.twist), "state": self.state.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.T_world_cam = SE3.InitFromVec(state["T_world_cam"])
        self.twist = state["twist"].numpy()
        self.state = TrackingState(state["state"])
