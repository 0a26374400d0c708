"""Rotation mode behind the front-end: spline, panorama, and what to do when they disagree with the events."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.backend.relocalisation import agreement, cube_of_turns, find_place
from evslam.backend.rotation_trajectory import RotationTrajectory, panorama_grid
from evslam.config import Config
from evslam.mapping.panorama import Panorama
from evslam.types import EventBatch, TrackingState

_NUMBERS = ("gap_px", "lost_us", "unadjusted_us", "unchecked_us", "doubts", "agreement")


class PanoramicTracker:
    """Holds every batch against the panorama and says whether it fits there.

    Args:
        config: resolved configuration.
        focal: pixels per radian of the sensor.

    Attributes:
        trajectory: None before the first tracked batch.
        agreement: with the panorama at the last check, see `agreement`; 1 before the first.
    """

    def __init__(self, config: Config, focal: float) -> None:
        self.config, self.search, self.focal = config, config.relocalise, focal
        self.trajectory: RotationTrajectory | None = None
        self.panorama = Panorama(panorama_grid(config.adjust, config.adjust.width))
        self.gap_px = 0.0  # image motion without measurement
        self.lost_us = 0  # since the place on the panorama was lost
        self.unadjusted_us = self.unchecked_us = 0
        self.doubts = 0  # checks in a row that failed
        self.agreement = 1.0

    def take(
        self, batch: EventBatch, omega: np.ndarray, state: TrackingState
    ) -> tuple[RotationTrajectory, TrackingState, int]:
        """Extend the trajectory by a batch, align it, and add to the panorama what leaves the window.

        Args:
            batch: follows the last one without gap.
            omega: (3,) rad/s that the front-end measured, or that the motion model expects if it did not.
            state: of the front-end; the first batch must be TRACKING.

        Returns:
            The trajectory, which covers the batch; the state: LOST too while the place on the panorama is unknown; and
            evaluations spent.
        """
        if self.trajectory is None:
            self.trajectory = RotationTrajectory(self.config.adjust, self.focal, batch.start_us, omega)
        trajectory, duration_us = self.trajectory, batch.stop_us - batch.start_us
        measured = state is TrackingState.TRACKING
        trajectory.extend(batch, omega)
        if not measured:
            self.gap_px += float(np.linalg.norm(omega)) * self.focal * duration_us * 1e-6
            self.lost_us += duration_us * (self.lost_us > 0 or state is TrackingState.LOST)
            trajectory.skip(batch)
            return trajectory, TrackingState.LOST if self.lost_us else state, 0
        if (self.lost_us or self.gap_px > self.search.min_gap_px) and not self._find(batch, trajectory):
            self.lost_us += duration_us
            trajectory.skip(batch)
            return trajectory, TrackingState.LOST, 0
        self.gap_px, self.lost_us = 0.0, 0
        trajectory.take(batch)
        self.unadjusted_us += duration_us
        if self.unadjusted_us < self.config.adjust.interval_s * 1e6:
            return trajectory, state, 0
        self.unadjusted_us = 0
        evaluations = trajectory.adjust(self.panorama.grid, self.panorama.flat)
        left = trajectory.retire()
        if left is not None:
            self.panorama.add(*left)
        self._check(batch, trajectory)
        return trajectory, state, evaluations

    def _find(self, batch: EventBatch, trajectory: RotationTrajectory) -> bool:
        """Look for the batch on the panorama: near the expected rotation, then wherever the camera has been."""
        search, map_ = self.search, (self.panorama.grid, self.panorama.flat)
        events, rotations = trajectory.packet(batch, search.max_events)
        near = cube_of_turns(np.radians(search.near_deg), np.radians(search.step_deg))
        here = Rotation.from_matrix(rotations[len(rotations) // 2])
        far = trajectory.visited(np.radians(search.visited_deg), search.max_visited) * here.inv()
        for turns, enough in ((near, search.min_agreement), (far, search.min_agreement_far)):
            place = find_place(events, rotations, map_, turns, search)
            if place.agreement >= enough:
                trajectory.jump(batch.start_us, place.turn)
                self.agreement, self.doubts = place.agreement, 0
                return True
        return not self.lost_us or self.lost_us > search.patience_s * 1e6

    def _check(self, batch: EventBatch, trajectory: RotationTrajectory) -> None:
        """Now and then: does the panorama agree? If not, the next batch is looked for, in the end everywhere."""
        self.unchecked_us += batch.stop_us - batch.start_us
        if self.unchecked_us < self.search.check_interval_s * 1e6 or not trajectory.retired:
            return
        self.unchecked_us = 0
        events, rotations = trajectory.packet(batch, self.search.max_events)
        self.agreement = agreement(events, rotations, (self.panorama.grid, self.panorama.flat), self.search)
        self.doubts = 0 if self.agreement >= self.search.min_agreement else self.doubts + 1
        if self.doubts:
            self.gap_px = np.inf
        if self.doubts > self.search.max_doubts:
            self.lost_us = 1

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        trajectory = None if self.trajectory is None else self.trajectory.state_dict()
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        return {"panorama": self.panorama.state_dict(), "trajectory": trajectory, **numbers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another tracker."""
        self.panorama.load_state_dict(state["panorama"])
        if state["trajectory"] is not None:
            self.trajectory = RotationTrajectory.from_state(self.config.adjust, self.focal, state["trajectory"])
        for name in _NUMBERS:
            setattr(self, name, state[name])
