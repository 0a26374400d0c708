"""The final estimate of a 6-DoF run: the whole map adjusted, and a pose for every frame, those before the start too."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from evslam.backend.loop_closure import Loop, close_loops, find_loops
from evslam.backend.refinement import ALL, Adjustment, Scope, refine_map
from evslam.backward import map_backwards
from evslam.config import Config
from evslam.frame_poses import placed_frames
from evslam.geometry.canvas import Canvas
from evslam.mapping.edge_ascent import climb_edges
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_match import match_edges
from evslam.mapping.edge_tracks import edges_agree, link_edges, sweep_keyframes
from evslam.mapping.held_out import Agreement, agreement, held_out
from evslam.multiview.edge_links import EdgeLinks
from evslam.multiview.sparse_map import SparseMap
from evslam.retrace import retraced
from evslam.types import PointFrame, PointMap
from evslam.unturned import without_turning

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refinement:
    """What became of a map at its end.

    Attributes:
        loops_found: between its keyframes; loops_closed: those that its pose graph agreed with.
        status: of the adjustment: "accepted", "rejected" (held-out edges agree worse: the map is as it was before it),
            or "unchecked" (too few of them to tell: it stands).
        is_retraced: the way to where it began was found anew, see `evslam.retrace`.
        is_unturned: the camera is taken not to turn, see `evslam.unturned`.
        held_out: how held-out edges agree.
        costs: of each stretch and round, the status of the solver, and the cost at the start and after each step.
    """

    loops_found: int
    loops_closed: int
    status: str
    is_retraced: bool
    is_unturned: bool
    held_out: Agreement
    costs: list[tuple[str, tuple[float, ...]]]

    def figures(self) -> dict[str, Any]:
        """For metrics.json."""
        costs = [{"status": status, "cost": cost} for status, cost in self.costs]
        told = {"status": self.status, "is_retraced": self.is_retraced, "is_unturned": self.is_unturned}
        return told | {"held_out_edges": asdict(self.held_out), "adjustments": costs}


def refine(map_: SparseMap, frames: list[PointFrame], imager: EdgeImager, config: Config) -> Refinement:
    """Go on before the start, measure all edges anew with the neighbours on both sides, close loops, and adjust all.

    Args:
        map_: changed in place.
        frames: tracked points, in the order of time.
        imager: canvas, and how edges are found.
        config: resolved configuration.
    """
    config = replace(config, window=replace(config.window, max_iterations=config.refine.max_iterations))
    start_us = map_.keyframes[min(config.bootstrap.num_frames, len(map_.keyframes)) - 1].t_us
    map_backwards(map_, frames, imager, config)
    sweep_keyframes(map_, range(len(map_.keyframes)), imager, config.link)
    loops, closed = _close(map_, imager, config)
    rounds = config.refine.rounds + bool(closed)  # a bent map needs one more

    def adjust(some: SparseMap, scope: Scope = ALL) -> Adjustment:
        return _adjust(some, imager, config, rounds, scope)

    before, kept = held_out(map_, imager, config.refine.held_out), map_.copy()
    done = adjust(map_)
    judged = agreement(before, held_out(map_, imager, config.refine.held_out))
    status = judged.verdict(config.refine.min_held_out, config.refine.max_growth)
    again = still = None
    if status == "rejected":
        map_.restore(kept)
        log.warning("the adjustment of the map is taken back: it makes edges held out of it agree worse, %s", judged)
    else:
        again = retraced(map_, start_us, frames, imager, config, adjust)
        if again is not None:
            map_.restore(again)
            done = adjust(map_)
        still = without_turning(map_, imager, config, done, adjust)
        if still is not None:
            map_.restore(still)
        elif done.moved > config.refine.settled:
            done = done.then(adjust(map_, Scope(until_settled=True)))
    costs = [(each.status, each.history) for results in done.rounds for each in results]
    return Refinement(len(loops), len(closed), status, again is not None, still is not None, judged, costs)


def _close(map_: SparseMap, imager: EdgeImager, config: Config) -> tuple[list[Loop], list[Loop]]:
    """Loops that are found between keyframes of a map, which is changed in place, and those that could be closed."""
    if not config.loop.use:
        return [], []

    def agree(old: int, new: int) -> bool:
        return edges_agree(map_, old, new, imager, config.link)

    loops = find_loops(map_, imager.canvas, config.places, config.loop, config.seed, agree)
    return loops, close_loops(map_, loops, imager.canvas, config.loop) if loops else []


def _adjust(map_: SparseMap, imager: EdgeImager, config: Config, rounds: int, scope: Scope) -> Adjustment:
    """Some or all keyframes; edges pull as configured."""
    look = climb_edges if config.refine.edges == "dense" else match_edges
    links, limits = replace(config.link, weight=config.refine.edge_weight), replace(config.refine, rounds=rounds)

    def link(views: list[int], is_free: np.ndarray) -> EdgeLinks | None:
        return link_edges(map_, views, is_free, imager, links, look)

    return refine_map(map_, link, imager.canvas.focal, config.window, limits, scope)


def final_poses(
    map_: SparseMap, frames: list[PointFrame], imager: EdgeImager, config: Config
) -> tuple[np.ndarray, np.ndarray]:
    """Times (N,), ascending, in microseconds, and poses T_cam_world (N, 4, 4) of all frames that can be placed."""
    settled = set(map_.anchored.t_us.tolist())
    frames = [frame for frame in frames if frame.t_us not in settled]
    t_us, poses = placed_frames(map_, frames, imager.canvas.focal, config)
    t_us, poses = np.append(map_.anchored.t_us, t_us), np.append(map_.anchored.poses(map_.keyframes), poses, axis=0)
    order = np.argsort(t_us, kind="stable")
    return t_us[order], poses[order]


def map_points(map_: SparseMap, canvas: Canvas) -> PointMap:
    """Edges of all keyframes, as sure as their depth is, and landmarks, wholly sure; world frame."""
    sure = map_.alive & map_.firm
    points, confidence = [map_.points[sure]], [np.ones(int(sure.sum()))]
    for keyframe in map_.keyframes:
        if keyframe.edges is not None:
            points.append(keyframe.edge_points(canvas))
            confidence.append(keyframe.edges.confidence.clip(0, 1))
    return PointMap(np.concatenate(points), np.concatenate(confidence))
