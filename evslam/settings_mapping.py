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
        rounds: of looking for edges and adjusting.
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
    rounds: int
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
class CullConfig:
    """Keyframes that are taken out again while tracking (6-DoF only).

    Attributes:
        keyframes: the first ones, which stay in any case.
        recent: keyframes at the end, which stay, too.
        max_deg, max_distance: to an older keyframe that shows the same, between the viewing directions, and in median
            depths.
    """

    keyframes: int
    recent: int
    max_deg: float
    max_distance: float


@dataclass(frozen=True)
class PlacesConfig:
    """What a keyframe shows of a place (6-DoF only).

    Attributes:
        neighbours: keyframes before and after whose map points it may show.
        cell_px: one point of each cell is described.
        descriptor: sift, or patch: grey values as they are.
        patch_px: SIFT's diameter of a point.
        words: of the vocabulary by which keyframes that look alike are found.
        candidates: keyframes that are looked at for each one, the most alike first ...
        enough: ... until so many show the same place.
        min_gap: keyframes that must lie between.
        min_alike: while tracking, keyframes are looked at that look so much alike, as a share of what the nearest do.
    """

    neighbours: int
    cell_px: float
    descriptor: str
    patch_px: float
    words: int
    candidates: int
    enough: int
    min_gap: int
    min_alike: float


@dataclass(frozen=True)
class SearchConfig:
    """Finding the camera in a map that is not being tracked (6-DoF only); distances in canvas pixels.

    Attributes:
        use: look for the camera after a loss.
        interval_s: between attempts while a place waits to be confirmed; so long for each map that is looked in, but at
            most the second, without a map to track against; the third with one.
        points: described in an image; summary_points: of these and of each keyframe, to tell which look alike.
        candidates: keyframes that are compared, the most alike first, until ...
        enough: ... so many show the place; the best counts.
        inlier_px: error up to which a map point agrees.
        min_points, min_share: that must agree, also out of those in view ...
        min_spread_px: ... spread so far, across and along.
        neighbours: keyframes before and after the one found, whose edges are looked for ...
        edge_radius_px: ... so far across them, in each round; there must be at least ...
        min_edges: ... so many, of which those within `EdgePoseConfig.sharp_px` of where they should be ...
        min_sharp_share, min_edge_share: ... are this share of those found, and of those in view.
        max_sigma: standard deviation of the position by the edges, in median depths.
        max_deviation: between a place and the tracks carried on from the place before, in rad and in median depths.
        link_px: a track so close to a landmark is the same.
    """

    use: bool
    interval_s: tuple[float, ...]
    points: int
    summary_points: int
    candidates: int
    enough: int
    inlier_px: float
    min_points: int
    min_share: float
    min_spread_px: tuple[float, ...]
    neighbours: int
    edge_radius_px: tuple[int, ...]
    min_edges: int
    min_sharp_share: float
    min_edge_share: float
    max_sigma: float
    max_deviation: float
    link_px: float


@dataclass(frozen=True)
class LoopConfig:
    """When two keyframes show the same place, and how much it counts (6-DoF only); distances in canvas pixels.

    Attributes:
        use: look for loops, while tracking and when the whole map is adjusted.
        online_keyframes: while tracking, a loop is closed once so many keyframes have shown it, or no more do; 0 never.
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
    online_keyframes: int
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
