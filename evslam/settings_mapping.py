"""The sections of the configuration that 6-DoF mapping has; values stand in `configs/default.yaml`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LandmarkConfig:
    """When a track becomes a landmark (6-DoF only).

    Attributes:
        max_age: keyframes that are looked back.
        min_views: keyframes that have seen the track.
        min_angle_deg: largest angle between its rays.
        max_mean_px: mean error after triangulation; a track that is further off follows no point. It is wide, as the
            poses may be wrong: the adjustment decides.
        depth_spread: standard deviation of the logarithm of the depth around that of the surroundings.
    """

    max_age: int
    min_views: int
    min_angle_deg: float
    max_mean_px: float
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
    delay_frames: int


@dataclass(frozen=True)
class RefineConfig:
    """Adjustment of the whole map at the end (6-DoF only).

    Attributes:
        use: do it.
        keyframes: that are adjusted at a time.
        max_iterations: instead of `window.max_iterations`.
        rounds: of looking for edges and adjusting ...
        settled: ... and as many again if keyframes moved in the last one by more than so much of their spread, and then
        more_rounds: at most, while they still do.
        edges: how they pull: "search" looks for each along its normal, "dense" climbs the edge image by functional
            backpropagation.
        edge_weight: instead of `link.weight`.
        held_out: keyframes before and after its host in which an edge does not take part, though they are near: an
            adjustment is judged by what they see.
        min_held_out: edges found there without which it is not judged.
        max_growth: factor by which their offset may grow before the adjustment is taken back.
        max_retraced_cost: another way to where the map began is taken that costs so many times as much at most.
        unturned_deg: a camera that has turned less than this may not have turned at all ...
        max_unturned_cost: ... if that explains as much, at so many times the cost at most.
    """

    use: bool
    keyframes: int
    max_iterations: int
    rounds: int
    more_rounds: int
    settled: float
    edges: str
    edge_weight: float
    held_out: tuple[int, ...]
    min_held_out: int
    max_growth: float
    max_retraced_cost: float
    unturned_deg: float
    max_unturned_cost: float


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
        min_agreeing: share of the edges in view that lie so near, where two keyframes agree about their places.
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
    min_agreeing: float


@dataclass(frozen=True)
class EdgeConfig:
    """Semi-dense map of edges (6-DoF only).

    Attributes:
        max_events: that vote in an edge image.
        scales_px: s of the band-pass G_s - G_2s, coarse to fine; edges are found on the last, the others serve those
            objectives of `edge_pose` that climb.
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
        sharp_px: an edge so close to where it should be agrees.
        doubt_share, doubt_edges: if so many are in view and less than this share agrees, the pose is in doubt.
    """

    objective: str
    keyframes: int
    radius_px: tuple[int, ...]
    min_edges: int
    weight: float
    scale_px: float
    iterations: int
    sharp_px: float
    doubt_share: float
    doubt_edges: int
