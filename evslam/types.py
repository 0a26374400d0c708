"""Plain data that the layers pass to each other. Shapes, frames and units stand beside each field."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Events:
    """A chunk of raw events as a sensor delivers them, sorted by time.

    Attributes:
        t: (N,) int64, microseconds of the recording's own clock.
        x: (N,) uint16, column in pixels, 0 is the left column.
        y: (N,) uint16, row in pixels, 0 is the top row.
        p: (N,) bool, True for a brightness increase.
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray

    def __len__(self) -> int:
        return len(self.t)

    def __getitem__(self, index: slice) -> Events:
        return Events(self.t[index], self.x[index], self.y[index], self.p[index])

    @staticmethod
    def empty() -> Events:
        """No events."""
        return Events(np.empty(0, np.int64), np.empty(0, np.uint16), np.empty(0, np.uint16), np.empty(0, bool))

    @staticmethod
    def concatenate(parts: list[Events]) -> Events:
        """The events of all parts, one after the other."""
        if not parts:
            return Events.empty()
        return Events(*(np.concatenate([getattr(part, name) for part in parts]) for name in "txyp"))


@dataclass(frozen=True)
class SensorSize:
    """Sensor resolution in pixels; images have shape (height, width)."""

    height: int
    width: int


@dataclass(frozen=True)
class EventBatch:
    """A packet of undistorted events that the tracker treats as one measurement.

    Attributes:
        t_ref_us: reference time in microseconds; the pose of the batch is the pose at this time.
        start_us, stop_us: the half-open interval [start_us, stop_us) that the batch covers.
        t: (N,) float, seconds relative to t_ref.
        bearing: (N, 2) float, undistorted normalised image coordinates (X / Z, Y / Z) in the camera frame.
        polarity: (N,) bool.
        num_dropped: events left out because their pixel cannot be undistorted.
        whole: False where the end of the recording cut the batch off.
        pixel: (N,) int32, flat index (row * sensor width + column) of the sensor's pixel; None where not known.
    """

    t_ref_us: int
    start_us: int
    stop_us: int
    t: Tensor
    bearing: Tensor
    polarity: Tensor
    num_dropped: int = 0
    whole: bool = True
    pixel: Tensor | None = None

    @property
    def num_events(self) -> int:
        """N."""
        return self.t.shape[0]

    @property
    def duration_s(self) -> float:
        """Length of the interval."""
        return (self.stop_us - self.start_us) * 1e-6

    @staticmethod
    def joined(batches: list[EventBatch]) -> EventBatch:
        """Successive batches in one, about the middle of their interval."""
        if len(batches) == 1:
            return batches[0]
        start_us, stop_us = batches[0].start_us, batches[-1].stop_us
        t_ref_us = (start_us + stop_us) // 2
        pixels = [each.pixel for each in batches if each.pixel is not None]
        return EventBatch(
            t_ref_us,
            start_us,
            stop_us,
            t=torch.cat([each.t + (each.t_ref_us - t_ref_us) * 1e-6 for each in batches]),
            bearing=torch.cat([each.bearing for each in batches]),
            polarity=torch.cat([each.polarity for each in batches]),
            num_dropped=sum(each.num_dropped for each in batches),
            whole=batches[-1].whole,
            pixel=torch.cat(pixels) if len(pixels) == len(batches) else None,
        )

    def thinned(self, max_events: int) -> EventBatch:
        """Every k-th event, with the smallest k that leaves at most `max_events`."""
        step = max(-(-self.num_events // max_events), 1)
        if step == 1:
            return self
        pixel = None if self.pixel is None else self.pixel[::step]
        return replace(
            self, t=self.t[::step], bearing=self.bearing[::step], polarity=self.polarity[::step], pixel=pixel
        )


@dataclass(frozen=True)
class PointFrame:
    """Points of one moment.

    Attributes:
        t_us: the moment, microseconds.
        ids: (N,) int64, numbers of the tracks, ascending.
        bearing: (N, 2) float64, undistorted (X / Z, Y / Z) in the camera frame.
        votes: (H, W) float16, motion-compensated events of the moment on the canvas; None where not kept.
        signed: (H, W) uint8, leaky signed event image of the moment, 128 where nothing happens; None where not kept.
        is_resting: the camera rests: the points are those of the frame before.
        hidden: (H, W) bool, where something moves before the scene; None for nowhere.
    """

    t_us: int
    ids: np.ndarray
    bearing: np.ndarray
    votes: np.ndarray | None = None
    signed: np.ndarray | None = None
    is_resting: bool = False
    hidden: np.ndarray | None = None

    def only(self, keep: np.ndarray) -> PointFrame:
        """The frame with some of its points (N,) bool, images as they are."""
        return replace(self, ids=self.ids[keep], bearing=self.bearing[keep])


class TrackingState(Enum):
    """What the tracker can say about a batch."""

    STARTING = "starting"
    TRACKING = "tracking"
    SPARSE = "sparse"  # too few events: the motion model bridges
    LOST = "lost"


@dataclass(frozen=True)
class TrackResult:
    """The tracker's answer for one batch.

    Attributes:
        t_ref_us: time of the pose, microseconds.
        T_world_cam: (7,) float64 translation and quaternion (x, y, z, qx, qy, qz, qw).
        twist: (6,) float64 (v, omega) in the camera frame at t_ref; omega in rad/s; v in scene depths per
            second while depth is unknown; v is zero in rotation mode.
        state: what the tracker can say about this batch.
        contrast: objective of the motion-compensated batch divided by that of the uncompensated batch; mode 6dof: share
            of the points that agree with the map.
        evaluations: objective evaluations spent.
        num_events: events used.
        covariance: (6, 6) float64 of (v, omega). Mode rotation: of the twist as measured from the batch alone, zero for
            what is not estimated. Mode 6dof: of the pose against the map at hand, T_world_cam exp((v, omega)) in the
            camera frame, v in units of the map, omega in rad. NaN where it was not measured.
        path: poses at more times of the batch's interval, where they are known; None where t_ref is all.
    """

    t_ref_us: int
    T_world_cam: Tensor
    twist: Tensor
    state: TrackingState
    contrast: float
    evaluations: int
    num_events: int
    covariance: Tensor
    path: Trajectory | None = None


@dataclass(frozen=True)
class Trajectory:
    """Time-stamped poses T_world_cam, times strictly increasing.

    Attributes:
        t_us: (N,) int64 microseconds.
        poses: (N, 7) float64 (x, y, z, qx, qy, qz, qw), unit quaternions: the TUM columns.
    """

    t_us: np.ndarray
    poses: np.ndarray

    def __len__(self) -> int:
        return len(self.t_us)

    @property
    def position(self) -> np.ndarray:
        """(N, 3) of the camera in the world."""
        return self.poses[:, :3]

    @property
    def quaternion(self) -> np.ndarray:
        """(N, 4) x y z w."""
        return self.poses[:, 3:]

    @staticmethod
    def from_results(results: list[TrackResult]) -> Trajectory:
        """Poses of all results, whatever their states."""
        if not results:
            return Trajectory(np.empty(0, np.int64), np.empty((0, 7)))
        t_us = np.array([result.t_ref_us for result in results], np.int64)
        return Trajectory(t_us, torch.stack([result.T_world_cam for result in results]).double().numpy())


@dataclass(frozen=True)
class Imu:
    """Inertial measurements in the IMU frame.

    Attributes:
        t_us: (N,) int64 microseconds.
        acceleration: (N, 3) float64 specific force, m/s^2.
        gyro: (N, 3) float64 angular velocity, rad/s.
    """

    t_us: np.ndarray
    acceleration: np.ndarray
    gyro: np.ndarray


@dataclass(frozen=True)
class PointMap:
    """A point map in the world frame.

    Attributes:
        points: (N, 3) float64, metres or, in rotation mode, bearings on the unit sphere.
        confidence: (N,) float64 in [0, 1].
    """

    points: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True)
class Picture:
    """What a viewer shows of a moment, beside the pose.

    Attributes:
        image: (H, W) the latest events, motion-compensated.
        pixels: (N, 2) map points in the image; depth: (N,) of these.
        points: (P, 3) the map, world frame.
        keyframes: their poses; None where there are none.
    """

    image: np.ndarray
    pixels: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    depth: np.ndarray = field(default_factory=lambda: np.empty(0))
    points: np.ndarray = field(default_factory=lambda: np.empty((0, 3)))
    keyframes: Trajectory | None = None
