"""The way to where tracking began, followed once more from what came later.

A start knows a second of motion, and little parallax: its path may be bent though it explains its tracks well, and
whatever came before it was followed back from there. An adjustment, which goes downhill, keeps such a bend. The rest of
the map has settled by the end of a run; from it the camera is followed back once more, through the start and on, and
the way that explains as much at less cost is taken.
"""

from __future__ import annotations

import logging

from evslam.backend.refinement import Adjust, Scope
from evslam.backward import map_backwards
from evslam.beside import two_at_a_time
from evslam.config import Config
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_tracks import sweep_keyframes
from evslam.multiview.sparse_map import SparseMap
from evslam.types import PointFrame

log = logging.getLogger(__name__)

_AS_MUCH = 0.8  # of the observations; keyframes are rarer than those of a start


def retraced(
    map_: SparseMap,
    start_us: int,
    frames: list[PointFrame],
    imager: EdgeImager,
    config: Config,
    adjust: Adjust,
) -> SparseMap | None:
    """The map with another way to where it began; None if that explains no more, or if the map was given.

    Args:
        map_: adjusted; it stays as it is.
        start_us: time of the last keyframe of its start, microseconds.
        frames: tracked points, in the order of time.
        imager: canvas, and how edges are found.
        config: limits.
        adjust: adjusts a map.
    """
    early = _number_before(map_, start_us)
    if map_.num_given or not 0 < early < len(map_.keyframes) or (map_.anchored.key_us < start_us).any():
        return None
    known, other = map_.copy(), map_.copy()
    for _ in range(early):
        other.remove_keyframe(0)
    map_backwards(other, frames, imager, config)
    again = _number_before(other, start_us)
    if not again:
        return None
    sweep_keyframes(other, range(again), imager, config.link)
    found, before = two_at_a_time(lambda way: adjust(*way), [(other, Scope(again)), (known, Scope(early))])
    if not found.explains(before, _AS_MUCH, config.refine.max_retraced_cost):
        return None
    sweep_keyframes(other, range(len(other.keyframes)), imager, config.link)
    log.info("the way to where tracking began was found anew from what came later")
    return other


def _number_before(map_: SparseMap, t_us: int) -> int:
    """Keyframes before a time."""
    return sum(keyframe.t_us < t_us for keyframe in map_.keyframes)
