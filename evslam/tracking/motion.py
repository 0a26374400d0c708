"""Constant-velocity motion model: predicts the twist of the next batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from evslam.types import TrackingState


class ConstantVelocity:
    """The twist that is expected to go on.

    Without measurement the twist decays with the time constant `rest_decay_s`: short gaps are bridged at constant
    velocity, a camera at rest (no events) stays where it is for as long as the rest lasts.

    Attributes:
        twist: (6,) float64 (v, omega) in the camera frame, at the end of the last batch.
        state: of the last batch; STARTING until one was tracked.
    """

    def __init__(self, rest_decay_s: float) -> None:
        self.rest_decay_s = rest_decay_s
        self.twist = np.zeros(6)
        self.state = TrackingState.STARTING

    @property
    def known(self) -> bool:
        """True when the twist comes from a measured batch that was not lost."""
        return self.state in (TrackingState.TRACKING, TrackingState.SPARSE)

    def advance(
        self, duration_s: float, twist: np.ndarray, state: TrackingState, bridge: np.ndarray | None = None
    ) -> None:
        """Go on to the end of a batch.

        Args:
            duration_s: of the batch, which follows the last one without gap.
            twist: (6,) of this batch; ignored unless tracked: the last twist goes on and decays.
            state: of this batch.
            bridge: (6,) twist from elsewhere that holds where the batch is not tracked, instead of the decay.
        """
        if state is TrackingState.TRACKING:
            self.twist = twist
        elif bridge is not None:
            self.twist = bridge
        else:
            self.twist = self.twist * np.exp(-duration_s / self.rest_decay_s)
        if state is TrackingState.TRACKING or self.state is not TrackingState.STARTING:
            self.state = state

    def correct(self, omega: np.ndarray) -> None:
        """Replace the angular velocity (3,) at the end of the last batch."""
        self.twist = np.concatenate([self.twist[:3], omega])

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {"twist": torch.from_numpy(self.twist), "state": self.state.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another model."""
        self.twist = state["twist"].numpy()
        self.state = TrackingState(state["state"])
