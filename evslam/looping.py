"""Loops of a map that is being tracked: found with every keyframe, closed beside the tracking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from evslam.backend.look_index import LookIndex
from evslam.backend.loop_closure import (
    ASKED,
    Loop,
    bend,
    confirmed,
    matched_loops,
    note_loops,
    placed,
    solve_loops,
)
from evslam.backend.places import View, Vocabulary, view_of
from evslam.beside import Worker
from evslam.config import Config
from evslam.geometry.similarity import Similarity
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_tracks import edges_agree
from evslam.multiview.sparse_map import SparseMap
from evslam.state import from_state, to_state

_LEAST = 3  # keyframes with loops, for these to be closed while tracking
_PER_KEYFRAME = 500  # keyframes of a graph that may be solved while the map grows by one


@dataclass(frozen=True)
class Closed:
    """A closure that the map has followed.

    Attributes:
        t_us: of the newest keyframe then.
        old_us, new_us: of the first pair of keyframes that show the same place.
        num_loops: pairs.
        scale: of the newest keyframes' surroundings, after over before.
    """

    t_us: int
    old_us: int
    new_us: int
    num_loops: int
    scale: float


@dataclass(frozen=True)
class _Closing:
    """Loops that a solution is being sought for, and T_world_cam of all keyframes, the first given, when that began."""

    path: Similarity
    loops: list[Loop]
    num_given: int


_CLASSES = (Closed, _Closing, Loop, Similarity, Vocabulary)
_STATE = ("found", "closing", "closed", "keyframes_left", "_solution")


class LoopCloser:
    """Looks whether a new keyframe shows a place that was seen long before, and bends the map.

    Loops are gathered while one keyframe after the other has some: the map follows a few less well, and what is left of
    the gap would then be closed within the last keyframes alone. Those that a neighbour's agree with count. The pose
    graph is solved while the map goes on growing; the map follows at a fixed keyframe later.

    Args:
        config: resolved configuration.
        imager: canvas, and how edges are found.
        worker: solves the pose graph, perhaps in a thread of its own.

    Attributes:
        found: loops of the last keyframes, not closed yet.
        closing: what is being solved; None for nothing.
        closed: what the map has followed.
    """

    def __init__(self, config: Config, imager: EdgeImager, worker: Worker) -> None:
        self.config, self.imager, self.worker = config, imager, worker
        self.index = LookIndex(config.places.words, config.seed)
        self.found: list[Loop] = []
        self.closing: _Closing | None = None
        self.closed: list[Closed] = []
        self.keyframes_left = 0
        self.wait: Callable[[], None] = lambda: None
        self._solution: tuple[Similarity, list[Loop]] | None = None

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        self.wait()
        words = to_state(self.index.vocabulary), self.index.learned_from
        return {name: to_state(getattr(self, name)) for name in _STATE} | {"words": words}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another closer."""
        for name in _STATE:
            setattr(self, name, from_state(state[name], _CLASSES))
        words, self.index.learned_from = state["words"]
        self.index.vocabulary = from_state(words, _CLASSES)

    @property
    def is_idle(self) -> bool:
        """No loop waits to be closed: keyframes may get other numbers."""
        return self.closing is None and not self.found

    def forget(self) -> None:
        """Another map is tracked from now on."""
        self.wait()
        self.found, self.closing, self._solution = [], None, None

    def look(self, map_: SparseMap) -> None:
        """Look for loops of the newest keyframe that has neighbours on both sides."""
        config, places = self.config, self.config.places
        new = len(map_.keyframes) - 1 - places.neighbours
        first = max(places.min_gap + 1, map_.num_given)
        if not (config.loop.use and config.loop.online_keyframes) or self.closing is not None or new < first:
            return
        self.index.update(map_)
        candidates = self.index.alike(new, places)[:ASKED]
        if not self.found and any(edges_agree(map_, old, new, self.imager, config.link) for old in candidates):
            return

        @cache
        def view(index: int) -> View | None:
            return view_of(map_, index, self.imager.canvas, places)

        self.found += matched_loops(new, candidates, view, self.imager.canvas.focal, config.loop)

    def take(self, map_: SparseMap) -> Similarity | None:
        """A moment at which the map is as a whole: it follows what was solved, or a solution of new loops is begun.

        Returns:
            How the surroundings of the newest keyframe have moved in the world; None if they have not.
        """
        if self.closing is not None:
            self.keyframes_left -= 1
            return self._follow(map_, self.closing) if self.keyframes_left <= 0 else None
        new, limits = len(map_.keyframes) - 1 - self.config.places.neighbours, self.config.loop
        seen = {loop.new for loop in self.found}
        if not seen or (len(seen) < limits.online_keyframes and new - max(seen) <= limits.max_step):
            return None
        path = placed(map_)
        loops, self.found = confirmed(path, self.found, limits), []
        if len({loop.new for loop in loops}) >= _LEAST:
            self.closing, self.keyframes_left = _Closing(path, loops, map_.num_given), 1 + len(path) // _PER_KEYFRAME
            self.wait = self.worker(self._solve, self.closing, list(map_.revisits))
        return None

    def _solve(self, closing: _Closing, revisits: list[tuple[int, int]]) -> None:
        given = closing.num_given
        self._solution = solve_loops(closing.path, revisits, closing.loops, self.config.loop, given)

    def _follow(self, map_: SparseMap, closing: _Closing) -> Similarity | None:
        """Bend the map as solved; keyframes that are newer than the solution go with the last one that it knows."""
        self.wait()
        assert self._solution is not None
        nodes, loops = self._solution
        self.forget()
        if not loops:
            return None
        change = nodes @ closing.path.inverse()
        bend(map_, change[np.arange(len(map_.keyframes)).clip(max=len(change) - 1)] @ placed(map_))
        note_loops(map_, loops, self.imager.canvas, self.config.loop)
        times = [map_.keyframes[k].t_us for k in (-1, loops[0].old, loops[0].new)]
        self.closed.append(Closed(times[0], times[1], times[2], len(loops), float(change.scale[-1])))
        return change[[-1]]
