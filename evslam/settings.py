"""The sections of the configuration: frozen dataclasses without defaults; values stand in `configs/default.yaml`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SensorConfig:
    """Facts of the sensor.

    Attributes:
        width, height: pixels; null lets the recording tell.
        latency_ms: milliseconds from a change of light to the time stamp of its event; taken off the stamps of poses.
    """

    width: int | None
    height: int | None
    latency_ms: float


@dataclass(frozen=True)
class NoiseConfig:
    """What is removed from the events before they are cut into batches; see `evslam.noise.NoiseFilter`.

    Attributes:
        hot_pixels: mask pixels that fire far more than their neighbourhood.
        hot_factor, hot_margin: a pixel is hot above hot_factor times the local median + hot_margin events.
        background_s: drop events without a neighbour's event in so many seconds before; null keeps them.
        max_rate: thin the events above so many per second; null keeps them.
    """

    hot_pixels: bool
    hot_factor: float
    hot_margin: int
    background_s: float | None
    max_rate: float | None


@dataclass(frozen=True)
class BatchConfig:
    """Limits of an event batch: at most `num_events` events, at most `max_duration_s` seconds and, once it has
    `min_events`, at most `max_displacement_px` pixels of image motion.

    A batch with fewer than `min_events` events, or one that the end of the recording cuts
    off to less than `min_share` of both limits, is bridged by the motion model.
    """

    num_events: int
    max_duration_s: float
    max_displacement_px: float
    min_events: int
    min_share: float


@dataclass(frozen=True)
class TrackerConfig:
    """Contrast maximisation per batch.

    Attributes:
        kernel: bin kernel of the event image (rect, linear, quadratic, cubic).
        gradient: gradient estimator of the binning layer (functional, raw).
        objective: contrast measure (variance, mean_square, gradient_magnitude).
        start_scales: image scales tried coarse to fine from an unknown motion.
        warm_scales: image scales used when the previous batch was tracked.
        max_events: of a batch that are used, evenly thinned.
        margin: canvas beyond the sensor on each side, as a share of its width.
        coarse_blur: standard deviation in bins of a Gaussian over the images at all scales but the last.
        coarse_margin: their margin; wider, because from far away many events fall beside the sensor.
        max_evaluations: objective evaluations per scale.
        step_tolerance_px: stop when the motion changes by less than this RMS event displacement.
        min_displacement_px: RMS displacement below which a motion is too small to be tested.
        min_support: contrast over that with shuffled time stamps, below which the events do not support a motion.
        quiet_share: without support, a rate of events below this share of the last tracked batch's is a camera at
            rest, above it a loss.
        rest_decay_s: time constant with which the motion goes to zero without measurement.
        prior_px: standard deviation of the change of motion between batches (6-DoF only), in pixels of RMS
            displacement per batch; keeps the translation from collapsing all events into a point.
        prior_speed: standard deviation of v (6-DoF only), in scene depths per second; where a rotation explains the
            events as well as a translation does, it decides for the rotation.
    """

    kernel: str
    gradient: str
    objective: str
    start_scales: tuple[float, ...]
    warm_scales: tuple[float, ...]
    max_events: int
    margin: float
    coarse_blur: float
    coarse_margin: float
    max_evaluations: int
    step_tolerance_px: float
    min_displacement_px: float
    min_support: float
    quiet_share: float
    rest_decay_s: float
    prior_px: float
    prior_speed: float


@dataclass(frozen=True)
class AdjustConfig:
    """Bundle adjustment of a rotation: a cubic spline on SO(3) whose panorama is made sharpest.

    Attributes:
        kernel, gradient: of the binning layer (linear, quadratic, cubic; functional, raw).
        knot_px: image motion in pixels between two knots, as long as that takes a time within ...
        knot_s: ... the shortest and the longest.
        speed_decay_s: time constant with which the speed that sets the knots falls.
        nodes_per_knot: between nodes, rotation matrices are interpolated linearly.
        events_per_knot: at most so many events of a knot interval are used, evenly thinned.
        smoothness: share of the contrast that a mean squared third difference of one pixel costs.
        stiffness: share of the contrast that a mean squared change of one pixel from the start of a search costs.
        width: columns of the panorama that new events are aligned with.
        interval_s: the newest part is adjusted once in so much time, at the end of a batch.
        window_knots: knot intervals that are adjusted then.
        window_evaluations, window_tolerance: evaluations, and the gain in contrast below which the search stops.
        pose_interval_us: microseconds between the poses that are written.
        refine: adjust the whole trajectory at the end.
        refine_widths: columns of the panorama, coarse to fine.
        refine_evaluations, refine_tolerance: the same, for each width.
        max_events: kept for the refinement; beyond, every other one is dropped.
    """

    kernel: str
    gradient: str
    knot_px: float
    knot_s: tuple[float, ...]
    speed_decay_s: float
    nodes_per_knot: int
    events_per_knot: int
    smoothness: float
    stiffness: float
    width: int
    interval_s: float
    window_knots: int
    window_evaluations: int
    window_tolerance: float
    pose_interval_us: int
    refine: bool
    refine_widths: tuple[int, ...]
    refine_evaluations: int
    refine_tolerance: float
    max_events: int


@dataclass(frozen=True)
class RelocaliseConfig:
    """Search for the place on the panorama after a stretch without tracking (rotation only).

    Attributes:
        min_gap_px: image motion without measurement above which the place is searched for.
        near_deg: radius around the expected rotation that is searched after a gap.
        step_deg: distance of candidates.
        visited_deg: rotations that were passed before are candidates too, so far apart.
        max_visited: at most so many of them.
        widths: columns of the panorama, divisors of `adjust.width`, coarse to fine.
        max_events: of the batch that are used for it.
        evaluations: for each width.
        check_interval_s: agreement with the panorama is checked so often while all seems well.
        max_doubts: checks in a row that may fail before the place counts as lost.
        patience_s: after so long in vain, the expected rotation is taken: the camera may see what it never saw.
        min_agreement: with the panorama, for a place near the expected one to be right: see
            `evslam.backend.relocalisation.agreement`.
        min_agreement_far: the same for a place elsewhere.
    """

    min_gap_px: float
    near_deg: float
    step_deg: float
    visited_deg: float
    max_visited: int
    widths: tuple[int, ...]
    max_events: int
    evaluations: int
    check_interval_s: float
    max_doubts: int
    patience_s: float
    min_agreement: float
    min_agreement_far: float


@dataclass(frozen=True)
class GyroConfig:
    """Use of an IMU.

    Attributes:
        use: take it, if the recording has one; refuse to run if it has none.
        T_cam_imu: pose of the IMU in the camera frame, "x y z qx qy qz qw" or FILE#KEY of a calibration file; empty for
            that of the recording's calibration, or, where that has none, the camera's own place and axes.
        bias_time_s: the bias is the mean difference from the events over so many seconds.
        max_latency_ms: the latency of the events is searched for up to here.
        min_spread: standard deviation of the angular velocity in rad/s below which no latency is told.
        turn_weight: of the turn since the last frame in the pose of a frame, against 1 for a landmark (6dof only).
    """

    use: bool
    T_cam_imu: str
    bias_time_s: float
    max_latency_ms: float
    min_spread: float
    turn_weight: float


@dataclass(frozen=True)
class AutoConfig:
    """Mode `auto`: when to take which mode.

    Attributes:
        num_batches: at the beginning, to choose from.
        min_gain: share by which SE(3) must be sharper than a rotation to be chosen, or else a rotation is.
        interval_s: time between two looks at whether the mode fits.
        look_batches: measured for a look.
        looks: in a row that must speak for the other mode.
        sure_gain: `min_gain` for leaving a rotation.
        min_fit: the mode fits for sure if its map agrees by so much: the mean agreement with the panorama; mode 6dof, 0
            before the first start and 1 afterwards.
    """

    num_batches: int
    min_gain: float
    interval_s: float
    look_batches: int
    looks: int
    sure_gain: float
    min_fit: float


@dataclass(frozen=True)
class MapConfig:
    """Panorama width in pixels (height is half of it) and the number of points that map.ply may hold."""

    panorama_width: int
    max_points: int


@dataclass(frozen=True)
class RunConfig:
    """The loop around the SLAM step: device, threads, chunk size of the reader, seconds between checkpoints."""

    device: str
    threads: int
    chunk_events: int
    checkpoint_s: float
