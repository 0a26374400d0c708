"""The sections of the configuration by which places are known again (6-DoF); values stand in `configs/default.yaml`."""

from __future__ import annotations

from dataclasses import dataclass


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
