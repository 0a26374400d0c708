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
    """Use of a gyroscope whose axes are the camera's.

    Attributes:
        use: take it, if the recording has one; refuse to run if it has none.
        bias_time_s: the bias is the mean difference from the events over so many seconds.
        max_latency_ms: the latency of the events is searched for up to here.
        min_spread: standard deviation of the angular velocity in rad/s below which no latency is told.
    """

    use: bool
    bias_time_s: float
    max_latency_ms: float
    min_spread: float


@dataclass(frozen=True)
class FrameConfig:
    """The event images that points are tracked on (6-DoF only).

    Attributes:
        canvas_width: pixels that the sensor's width may take on the undistorted canvas.
        canvas_margin: canvas beyond the sensor on each side, as a share of its width.
        step_px: image motion between two images, as long as that takes a time within ...
        step_s: ... the shortest and the longest.
        window_px: image motion that the sharp channel's events may span, within ...
        window_s: ... these times; at most `max_events` of them.
        max_events: see above.
        leak_px: image motion in which the leaky channel forgets, within ...
        leak_s: ... these times.
        fine_px, wide_px: standard deviations of the Gaussians whose differences are the channels (the sharp channel's
            wide one is twice the fine one).
        levels: of the pyramid.
        min_activity: share of the busiest places' events that a place needs for points to be tracked there.
        scale_gain: weight of the newest image in the brightness scale.
        rest_share: of the usual rate of events, below which the camera rests.
        rest_memory_s: time constants with which the usual rate follows, while the camera moves and while it rests.
    """

    canvas_width: int
    canvas_margin: float
    step_px: float
    step_s: tuple[float, ...]
    window_px: float
    window_s: tuple[float, ...]
    max_events: int
    leak_px: float
    leak_s: tuple[float, ...]
    fine_px: float
    wide_px: float
    levels: int
    min_activity: float
    scale_gain: float
    rest_share: float
    rest_memory_s: tuple[float, ...]

    @property
    def batching(self) -> BatchConfig:
        """One batch for every image."""
        unlimited = 2**62
        return BatchConfig(unlimited, self.step_s[1], self.step_px, 1, 0.0)


@dataclass(frozen=True)
class PointsConfig:
    """Points tracked over event images (6-DoF only).

    Attributes:
        max_points: tracked at a time.
        min_points: below which the flow is measured by contrast maximisation.
        min_distance_px: between a new point and all others.
        min_corner: of the image's strongest corner, for a new point.
        corner_block: side of the window over which corners are measured.
        iterations, tolerance_px: of the alignment of a patch, per level of the pyramid.
        max_gap_px: distance between a point and what is found on the way back from the next image.
        max_anchor_px: distance that the alignment with the first patch may move a point.
        anchor_px: image motion after which the patch is renewed.
        max_outlier_px: motion beside the affine flow between two images.
        idle_speed: px/s above which a place without events is suspect.
        max_idle: images in a row at a suspect place.
    """

    max_points: int
    min_points: int
    min_distance_px: int
    min_corner: float
    corner_block: int
    iterations: int
    tolerance_px: float
    max_gap_px: float
    max_anchor_px: float
    anchor_px: float
    max_outlier_px: float
    idle_speed: float
    max_idle: int


@dataclass(frozen=True)
class BootstrapConfig:
    """Start of 6-DoF tracking from point tracks: when to try, and when a solution is accepted. Pixels of the canvas.

    Attributes:
        interval_s: time between attempts.
        reference_s: time between frames that attempts may begin at; the oldest that is left serves.
        history_s: none older than this.
        min_common: tracks that a reference must share with the frame of now ...
        min_common_share: ... and as a share of its own.
        min_parallax_px: median motion against a pure rotation below which no attempt is made.
        min_duration_s: shortest start.
        max_hypotheses: relative poses that are refined.
        num_frames: frames that a start consists of.
        min_views: of these frames that must see a track.
        scale_px: Cauchy scale of the cost.
        crowd_px: points within this radius share the weight of three; 0 weighs all the same.
        inlier_px: error up to which an observation agrees.
        rival_deg: another direction of motion that differs by more is a different solution.
        point_angle_deg: angle between rays that a point needs to enter the map.
        min_inlier_share: of the observations.
        min_rival_ratio: how much dearer the next different solution must be.
        min_rotation_ratio: how much dearer turning alone must be.
        min_in_front_share: of the points that must lie in front of all cameras.
        min_angle_deg: median angle between the rays of a point.
        max_sigma: standard deviation of the direction of motion, rad.
        confirm_s: a candidate that passes is accepted once another, found so much later, ...
        confirm_deg: ... parts from its path by no more than this angle.
        verify_s: after a start, others are looked for during this time; ...
        max_deviation: ... one that parts by more, as a share of its extent, replaces it.
    """

    interval_s: float
    reference_s: float
    history_s: float
    min_common: int
    min_common_share: float
    min_parallax_px: float
    min_duration_s: float
    max_hypotheses: int
    num_frames: int
    min_views: int
    scale_px: float
    crowd_px: float
    inlier_px: float
    rival_deg: float
    point_angle_deg: float
    min_inlier_share: float
    min_rival_ratio: float
    min_rotation_ratio: float
    min_in_front_share: float
    min_angle_deg: float
    max_sigma: float
    confirm_s: float
    confirm_deg: float
    verify_s: float
    max_deviation: float


@dataclass(frozen=True)
class PoseConfig:
    """Pose of a frame from the landmarks of its points (6-DoF only); distances in canvas pixels.

    Attributes:
        wide_scale_px, wide_iterations: Cauchy scale and iterations of the first search.
        scale_px, iterations: of the second, which is the result.
        crowd_px: points within this radius share the weight of three.
        inlier_px: a point within is an inlier.
        enough_points: with so many landmarks whose depth is firm, others do not count ...
        guess_weight: ... and with none, they weigh so much.
        min_points: inliers that a pose needs.
        min_share: share of inliers that a pose needs.
        sure_share: share of inliers above which no other start is tried.
        max_failures: frames in a row without a pose before tracking counts as lost.
        misfit_px, max_misfits: a track so far from its landmark in so many frames in a row loses it.
    """

    wide_scale_px: float
    wide_iterations: int
    scale_px: float
    iterations: int
    crowd_px: float
    inlier_px: float
    enough_points: int
    guess_weight: float
    min_points: int
    min_share: float
    sure_share: float
    max_failures: int
    misfit_px: float
    max_misfits: int


@dataclass(frozen=True)
class KeyframeConfig:
    """When a frame becomes a keyframe (6-DoF only).

    Attributes:
        min_frames: after the last one.
        motion_px: median image motion since the last one.
        min_share: of the last one's inliers, below which a new one is due.
    """

    min_frames: int
    motion_px: float
    min_share: float


@dataclass(frozen=True)
class LandmarkConfig:
    """When a track becomes a landmark (6-DoF only).

    Attributes:
        max_age: keyframes that are looked back.
        min_views: keyframes that have seen the track.
        min_angle_deg: largest angle between its rays.
        max_mean_px, max_error_px: mean and largest error after triangulation.
        depth_spread: standard deviation of the logarithm of the depth around that of the surroundings.
    """

    max_age: int
    min_views: int
    min_angle_deg: float
    max_mean_px: float
    max_error_px: float
    depth_spread: float


@dataclass(frozen=True)
class WindowConfig:
    """Windowed bundle adjustment (6-DoF only).

    Attributes:
        keyframes: that move.
        max_fixed: older keyframes that hold the window.
        scale_px: Cauchy scale.
        max_iterations, tolerance: of the solver.
        min_observations: below which nothing is adjusted.
        max_error_px: an observation further off is taken out.
        max_mean_px: a landmark further off on average is taken out.
        guess_weight: of landmarks whose depth is not firm; they stay where they are.
        delay_frames: frames after a keyframe from which on its map is used; until then it may be worked on beside them.
    """

    keyframes: int
    max_fixed: int
    scale_px: float
    max_iterations: int
    tolerance: float
    min_observations: int
    max_error_px: float
    max_mean_px: float
    guess_weight: float
    delay_frames: int


@dataclass(frozen=True)
class RefineConfig:
    """Adjustment of the whole map at the end (6-DoF only).

    Attributes:
        use: do it.
        keyframes: that are adjusted at a time.
        rounds: of looking for edges and adjusting.
    """

    use: bool
    keyframes: int
    rounds: int


@dataclass(frozen=True)
class LinkConfig:
    """Edges of keyframes in bundle adjustment (6-DoF only).

    Attributes:
        window_s: duration of the events of a keyframe's edge image.
        max_views: neighbours that the depth of a keyframe's edges is measured with.
        resweep: keyframes so many before the newest one are measured again with each new one.
        offsets: keyframes before and after its host in which an edge is looked for.
        weight: of an error across an edge against an error of a landmark.
        max_error_px: mean error above which an edge point is taken out.
        revisits: keyframes farther away in time that see the same place and take part: those within ...
        revisit_deg, revisit_distance: ... this angle between the viewing directions, and distance in median depths.
        max_revisit_px: median distance of their edges from where they should be; a map that has drifted apart is worse
            than none.
    """

    window_s: float
    max_views: int
    resweep: tuple[int, ...]
    offsets: tuple[int, ...]
    weight: float
    max_error_px: float
    revisits: int
    revisit_deg: float
    revisit_distance: float
    max_revisit_px: float


@dataclass(frozen=True)
class UnionConfig:
    """Contrast of the union of events and map (6-DoF only); see `evslam.mapping.union_contrast`.

    Attributes:
        kernel, gradient: of the binning layer (linear, quadratic, cubic; functional, raw).
        map_weight: height of the map's edges in the band-passed image over that of the events'.
        max_evaluations: at each scale.
        max_step_px: a maximum farther from the start is not believed.
    """

    kernel: str
    gradient: str
    map_weight: float
    max_evaluations: int
    max_step_px: float


@dataclass(frozen=True)
class EdgePoseConfig:
    """Pose of a frame from the edges of the map (6-DoF only).

    Attributes:
        objective: search (for each edge across it, then least squares together with the tracked points), alignment
            (Gauss-Newton on the edge image), contrast (of the union of events and map, by functional backpropagation),
            or none.
        keyframes: the last ones whose edges are looked for.
        radius_px: searched across an edge, for each round.
        min_edges: that must be found.
        weight: of an error across an edge against an error of a landmark.
        scale_px, iterations: of the robust fit.
    """

    objective: str
    keyframes: int
    radius_px: tuple[int, ...]
    min_edges: int
    weight: float
    scale_px: float
    iterations: int


@dataclass(frozen=True)
class EdgeConfig:
    """Semi-dense map of edges (6-DoF only).

    Attributes:
        max_events: that vote in an edge image.
        scales_px: s of the band-pass G_s - G_2s, coarse to fine; depth is swept on the last.
        border_px: left out where the sensor's view ends.
        min_ridge: strength of a ridge whose depth is looked for.
        max_ridges: at most so many, evenly thinned.
        planes: inverse depths that are tried, evenly spaced in their logarithm.
        range_factor: the sweep goes beyond the depths of the sparse points by this factor.
        min_views: a depth counts where so many views see the place.
        min_peak: mean strength at the best depth.
        min_margin: its lead over the best one that is ...
        peak_planes: ... more than so many planes away.
        sigma_width: standard deviation of the inverse depth over the width of its peak.
        cell_px: of the points for bundle adjustment the most confident one of each cell is taken ...
        max_points: ... and at most so many.
        match_px: an edge is looked for so far on each side of where it should be.
        min_match: mean strength of an edge that is found again.
        huber: of 1 - strength in alignment.
        align_evaluations: of the pose's error at each scale.
    """

    max_events: int
    scales_px: tuple[float, ...]
    border_px: int
    min_ridge: float
    max_ridges: int
    planes: int
    range_factor: float
    min_views: int
    min_peak: float
    min_margin: float
    peak_planes: int
    sigma_width: float
    cell_px: int
    max_points: int
    match_px: int
    min_match: float
    huber: float
    align_evaluations: int


@dataclass(frozen=True)
class PlacesConfig:
    """What a keyframe shows of a place (6-DoF only).

    Attributes:
        neighbours: keyframes before and after whose map points it may show.
        cell_px: one point of each cell is described.
        patch_px: SIFT's diameter of a point.
        words: of the vocabulary by which keyframes that look alike are found.
        candidates: keyframes that are looked at for each one, the most alike first ...
        enough: ... until so many show the same place.
        min_gap: keyframes that must lie between.
    """

    neighbours: int
    cell_px: float
    patch_px: float
    words: int
    candidates: int
    enough: int
    min_gap: int


@dataclass(frozen=True)
class LoopConfig:
    """When two keyframes show the same place, and how much it counts (6-DoF only); distances in canvas pixels.

    Attributes:
        use: look for loops when the whole map is adjusted.
        ratio: of the distance between descriptors over that to the second best, at most.
        max_distance: between descriptors of points that the first pose brings close.
        min_matches: by descriptor, and that agree with one pose.
        ransac_iterations: to find this pose.
        guided_px: points that the first pose brings so close may be the same.
        scale_px: Cauchy scale.
        inlier_px: error in each of both images up to which a point agrees.
        max_median_px: median error in each image; a view of a flat place from a wrong side fits worse.
        min_points: that must agree in both images ...
        min_spread_px: ... and spread so far, across and along.
        max_turn_deg: between the poses by the points of either view.
        max_step: keyframes; a loop counts if a neighbour within it has one that agrees.
        step_sigma: of a step between keyframes: translation over the median step, rad, logarithm of scale.
        loop_sigma: of a loop.
        step_kernel: Cauchy scale of steps, in standard deviations: where tracking failed, a step may be wrong.
        kernel: Cauchy scale of loops, in standard deviations.
        max_error: of a loop after all, in standard deviations; one that is further off is dropped.
        widening: of the kernels in turn, so that drift which is large at first does not look like a false loop.
        max_iterations: of the pose graph.
        max_merge_px: landmarks of both visits become one where the first is seen this close to the second.
    """

    use: bool
    ratio: float
    max_distance: float
    min_matches: int
    ransac_iterations: int
    guided_px: float
    scale_px: float
    inlier_px: float
    max_median_px: float
    min_points: int
    min_spread_px: tuple[float, ...]
    max_turn_deg: float
    max_step: int
    step_sigma: tuple[float, ...]
    loop_sigma: tuple[float, ...]
    step_kernel: float
    kernel: float
    max_error: float
    widening: tuple[float, ...]
    max_iterations: int
    max_merge_px: float


@dataclass(frozen=True)
class AutoConfig:
    """Mode `auto`: batches to look at, and by which share SE(3) must be sharper than a rotation to be chosen."""

    num_batches: int
    min_gain: float


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
