"""The sections of the configuration that 6-DoF tracking has; values stand in `configs/default.yaml`."""

from __future__ import annotations

from dataclasses import dataclass

from evslam.settings import BatchConfig


@dataclass(frozen=True)
class FrameConfig:
    """The event images that points are tracked on (6-DoF only).

    Attributes:
        canvas_width: pixels that the sensor's width may take on the undistorted canvas.
        canvas_margin: canvas beyond the sensor on each side, as a share of its width.
        step_px, step_s: image motion between two images, as long as that takes the shortest to the longest time.
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
        min_variance: of the rate of events over the sensor, relative, below which they are mere noise.
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
    min_variance: float
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
        run_in_px, run_in_s: image motion since the first image, or time if that is over sooner, before there are any.
        min_distance_px: between a new point and all others.
        min_corner: of the image's strongest corner, for a new point.
        corner_block: side of the window over which corners are measured.
        even_cells: squares across the width of the image, where points are to be spread evenly, ...
        even_points, even_corner: ... that get no new point once they have so many; `min_corner` then.
        iterations, tolerance_px: of the alignment of a patch, per level of the pyramid.
        max_gap_px: distance between a point and what is found on the way back from the next image.
        max_anchor_px: distance that the alignment with the first patch may move a point.
        anchor_px: image motion after which the patch is renewed.
        max_outlier_px: motion beside the affine flow between two images.
        idle_speed, max_idle: px/s above which a place without events is suspect, and images in a row there.
    """

    max_points: int
    min_points: int
    run_in_px: float
    run_in_s: float
    min_distance_px: int
    min_corner: float
    corner_block: int
    even_cells: int
    even_points: int
    even_corner: float
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
        sure_factor: a candidate so many times above both ratios and `min_common` is accepted at once; ...
        confirm_s, confirm_deg: ... another once one found so much later parts from its path by no more than this angle.
        patience_s: after so long, one needs no confirmation that is as far above `min_common` and `min_duration_s`.
        verify_s: after a start, others are looked for so long, and a map that is lost is given up; ...
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
    sure_factor: float
    confirm_s: float
    confirm_deg: float
    patience_s: float
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
        min_points: inliers that a pose needs.
        min_share: share of inliers that a pose needs.
        sure_share: share of inliers above which no other start is tried.
        doubt_share: share of inliers below which a pose is in doubt: no keyframe is made of it.
        max_failures, max_doubts: frames in a row without a pose, or with one in doubt, before tracking counts as lost.
        common_px: standard deviation of the error that all points share, as event images lag; for the covariance.
        misfit_px, max_misfits: a track so far from its landmark in so many frames in a row loses it.
    """

    wide_scale_px: float
    wide_iterations: int
    scale_px: float
    iterations: int
    crowd_px: float
    inlier_px: float
    min_points: int
    min_share: float
    sure_share: float
    doubt_share: float
    max_failures: int
    max_doubts: int
    misfit_px: float
    max_misfits: int
    common_px: float


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
class MoversConfig:
    """Objects that move (6-DoF only); canvas pixels.

    Attributes:
        use: look for them.
        interval_s: so often.
        memory_s: tracks and poses are remembered so long.
        windows_s: stretches in which two motions are looked for, in turn.
        turn_px: up to so much parallax, the background turns as one; each is tried.
        min_tracks: on the object, and on the scene.
        usual_extent: of an object over that of the rest, in squares of the image; a larger one must show more contrast.
        max_extent: of any object.
        margin_px: that an object is larger than its tracks tell.
        scale_px: of the errors of tracks, of which the cost is the logarithm.
        min_contrast: cost of the object's tracks under the scene's motion over that under their own.
        min_gain: cost of the scene's tracks under the motion that explains all, over that under their own.
        radius_px: so far around a track that moves, what has no other track nearer moves, too.
        still_px, moving_px: error of a track by the camera's poses below which it is still, and above which it moves.
        flow_s: the image's motion over so long tells tracks that move where it differs by ...
        flow_px: ... so much.
        prove_s: a track that lies among those that move for so long is one of them for good.
        young_s: a map that began so shortly before may follow an object; later, its poses are sure.
        rest_s: what has not moved for so long, moves no more.
    """

    use: bool
    interval_s: float
    memory_s: float
    windows_s: tuple[float, ...]
    turn_px: tuple[float, ...]
    min_tracks: int
    usual_extent: float
    max_extent: float
    margin_px: float
    scale_px: float
    min_contrast: float
    min_gain: float
    radius_px: float
    still_px: float
    moving_px: float
    prove_s: float
    flow_s: float
    flow_px: float
    young_s: float
    rest_s: float
