"""Loops of a whole map: which keyframes show a place again, and the map bent so that both visits meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice

import numpy as np

from evslam.backend.look_index import LookIndex
from evslam.backend.loop_match import match_views
from evslam.backend.places import View, view_of
from evslam.backend.pose_graph import GraphResult, Relations, optimise_graph
from evslam.beside import two_at_a_time
from evslam.geometry.canvas import Canvas
from evslam.geometry.rigid import NEAR, seen_from
from evslam.geometry.similarity import Similarity
from evslam.multiview.keyframe import rows_of
from evslam.multiview.sparse_map import SparseMap
from evslam.settings_places import LoopConfig, PlacesConfig

ASKED = 3  # keyframes that look most alike
_STEPS = (1, 2)  # keyframes between which the path is a relation
_ROUGHLY = 0.05  # relative decrease of the cost that ends the search with kernels that are too wide
_SKIPPED_SIGMA = 1.5  # of a relation that skips a keyframe, over that of neighbours


@dataclass(frozen=True)
class Loop:
    """Two keyframes that show the same place.

    Attributes:
        old, new: keyframes.
        new_from_old: one similarity, points of the old camera frame to the new one.
        landmarks: (M, 2) int64, landmarks of both that are the same.
        num_points: map points that agree.
    """

    old: int
    new: int
    new_from_old: Similarity
    landmarks: np.ndarray
    num_points: int


def find_loops(
    map_: SparseMap,
    canvas: Canvas,
    places: PlacesConfig,
    config: LoopConfig,
    seed: int,
    agree: Callable[[int, int], bool],
) -> list[Loop]:
    """Loops between all keyframes of a map, those that a neighbour does not confirm left out; none within a given map.

    Args:
        map_: keyframes with signed images and what they look like, landmarks, edges.
        canvas: image plane.
        places, config: limits.
        seed: of the vocabulary.
        agree: tells whether the map has two keyframes in the right place to each other already; a keyframe that
            agrees with one that looks alike needs no loop.
    """
    index = LookIndex(places.words, seed)
    index.update(map_)

    @cache
    def view(number: int) -> View | None:
        return view_of(map_, number, canvas, places)

    def of_keyframe(new: int) -> list[Loop]:
        candidates = index.nearest(map_.keyframes[new].look, places.candidates, new - places.min_gap)
        if any(agree(old, new) for old in candidates[:ASKED]):
            return []
        return list(islice(matched_loops(new, candidates, view, canvas.focal, config), places.enough))

    found = two_at_a_time(of_keyframe, range(max(places.min_gap, map_.num_given), len(map_.keyframes)))
    return confirmed(placed(map_), [loop for each in found for loop in each], config)


def matched_loops(
    new: int, candidates: list[int], view: Callable[[int], View | None], focal: float, config: LoopConfig
) -> Iterator[Loop]:
    """Loops from a keyframe to those of some others that show the same place."""
    for old in candidates:
        ours, theirs = view(old), view(new)
        found = None if ours is None or theirs is None else match_views(ours, theirs, focal, config)
        if ours is not None and theirs is not None and found is not None:
            pairs = np.stack([ours.landmark[found.rows[:, 0]], theirs.landmark[found.rows[:, 1]]], 1)
            pairs = pairs[(pairs >= 0).all(1) & (pairs[:, 0] != pairs[:, 1])]
            yield Loop(old, new, found.new_from_old, pairs, len(found.rows))


def confirmed(nodes: Similarity, loops: list[Loop], config: LoopConfig) -> list[Loop]:
    """Loops that agree, within some standard deviations, with a loop from a neighbouring new keyframe.

    Args:
        nodes: T_world_cam of all keyframes.
        loops: in the order of new keyframes.
        config: limits.
    """
    if not loops:
        return []
    old, new = np.array([loop.old for loop in loops]), np.array([loop.new for loop in loops])
    found = Similarity.join([loop.new_from_old for loop in loops])
    first, second = np.nonzero(
        (new[:, None] < new) & (new - new[:, None] <= config.max_step) & (np.abs(old - old[:, None]) <= config.max_step)
    )
    expected = (
        (nodes[new[second]].inverse() @ nodes[new[first]])
        @ found[first]
        @ (nodes[old[first]].inverse() @ nodes[old[second]])
    )
    error = (found[second].inverse() @ expected).chart() / _sigma(nodes, config.loop_sigma)
    agree = np.linalg.norm(error, axis=1) < config.kernel * 3
    good = np.zeros(len(loops), bool)
    good[first[agree]] = good[second[agree]] = True
    return [loop for loop, sure in zip(loops, good, strict=True) if sure]


def close_loops(map_: SparseMap, loops: list[Loop], canvas: Canvas, config: LoopConfig) -> list[Loop]:
    """Bend a map so that its loops close, and join the landmarks of both visits.

    Args:
        map_: changed in place: poses, landmarks, depth of edges, `SparseMap.revisits`.
        loops: at least one.
        canvas: image plane.
        config: weights and limits.

    Returns:
        The loops that the bent map agrees with; if there are none, the map stays as it is.
    """
    nodes, kept = solve_loops(placed(map_), map_.revisits, loops, config, map_.num_given)
    if kept:
        bend(map_, nodes)
        note_loops(map_, kept, canvas, config)
    return kept


def placed(map_: SparseMap) -> Similarity:
    """T_world_cam of all keyframes."""
    return Similarity.of_poses(np.linalg.inv(np.stack([keyframe.T_cam_world for keyframe in map_.keyframes])))


def solve_loops(
    path: Similarity, revisits: list[tuple[int, int]], loops: list[Loop], config: LoopConfig, num_given: int = 0
) -> tuple[Similarity, list[Loop]]:
    """Places of keyframes with which loops close, and the loops that these places agree with.

    Args:
        path: T_world_cam of all keyframes as they are.
        revisits: pairs of keyframes that have their right place to each other already, if no loop nearby tells better.
        loops: some of which may be false; those that do not fit are dropped.
        config: weights and limits.
        num_given: keyframes of a given map: they stay.
    """
    kept, nodes = loops, path
    pairs = np.array([(loop.old, loop.new) for loop in loops])
    revisits = [pair for pair in revisits if (np.abs(pairs - pair).max(1) > config.max_step).all()]
    while kept:
        result = _optimise(_relations(path, revisits, kept, config), config, nodes, max(num_given, 1))
        nodes, error = result.nodes, result.error[-len(kept) :]
        before, kept = kept, [loop for loop, off in zip(kept, error, strict=True) if off < config.max_error]
        if len(kept) == len(before):
            break
    return nodes, kept


def note_loops(map_: SparseMap, loops: list[Loop], canvas: Canvas, config: LoopConfig) -> None:
    """Landmarks of the new visits become those of the old ones where the new keyframe sees them near enough."""
    kept, gone = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for loop in loops:
        keyframe, (old, new) = map_.keyframes[loop.new], loop.landmarks.T
        order = np.argsort(keyframe.landmark, kind="stable")
        row, seen = rows_of(keyframe.landmark[order], new)
        place, depth = seen_from(keyframe.T_cam_world, map_.points[old])
        apart = canvas.focal * np.linalg.norm(place - keyframe.bearing[order[row]], axis=1)
        near = seen & (depth > NEAR) & (apart < config.max_merge_px)
        kept.append(old[near])
        gone.append(new[near])
    map_.join_landmarks(np.concatenate(kept), np.concatenate(gone))
    known = set(map_.revisits)
    map_.revisits += [pair for loop in loops if (pair := (loop.old, loop.new)) not in known]


def bend(map_: SparseMap, T_world_cam: Similarity) -> None:
    """Move keyframes, with what they see, to places and scales of their own.

    A landmark goes with the middle one of the keyframes that see it, with a given one if it is among them, with the
    newest one where none does; edges go with their keyframe.

    Args:
        map_: changed in place.
        T_world_cam: one similarity for each keyframe; its scale is that of the keyframe's surroundings.
    """
    before = np.stack([keyframe.T_cam_world for keyframe in map_.keyframes])
    host = _middle_keyframes(map_)
    change = T_world_cam[host] @ Similarity.of_poses(before[host])
    map_.points, map_.spread = change.apply(map_.points[:, None])[:, 0], change.turn(map_.spread[:, None])[:, 0]
    for index, keyframe in enumerate(map_.keyframes):
        keyframe.move(T_world_cam[[index]])


def _relations(path: Similarity, revisits: list[tuple[int, int]], loops: list[Loop], config: LoopConfig) -> Relations:
    """The pose graph of the path, of revisits as they are, and of the loops."""
    step, loop_sigma = _sigma(path, config.step_sigma), _sigma(path, config.loop_sigma)
    pairs = [np.stack([np.arange(len(path) - apart), np.arange(apart, len(path))], 1) for apart in _STEPS]
    pairs.append(np.array(revisits, np.int64).reshape(-1, 2))
    sigma = [step * (1 if apart == 1 else _SKIPPED_SIGMA) for apart in _STEPS] + [loop_sigma]
    kernel = [config.step_kernel] * len(_STEPS) + [config.kernel]
    first, second = np.concatenate(pairs).T
    counts = [len(each) for each in pairs]
    return Relations(
        np.concatenate([first, [loop.old for loop in loops]]),
        np.concatenate([second, [loop.new for loop in loops]]),
        Similarity.join([path[first].inverse() @ path[second], *(loop.new_from_old.inverse() for loop in loops)]),
        np.concatenate([np.repeat(sigma, counts, axis=0), np.tile(loop_sigma, (len(loops), 1))]),
        np.concatenate([np.repeat(kernel, counts), np.full(len(loops), config.kernel)]),
    )


def _optimise(relations: Relations, config: LoopConfig, start: Similarity, fixed: int) -> GraphResult:
    """First with kernels that forgive more."""
    for wider in config.widening[:-1]:
        wide = replace(relations, kernel=wider * relations.kernel)
        start = optimise_graph(start, wide, config.max_iterations, _ROUGHLY, fixed).nodes
    last = replace(relations, kernel=config.widening[-1] * relations.kernel)
    return optimise_graph(start, last, config.max_iterations, fixed=fixed)


def _sigma(path: Similarity, relative: tuple[float, ...]) -> np.ndarray:
    """(7,) standard deviations: translation over the median step between keyframes, rotation, logarithm of scale."""
    step = float(np.median(np.linalg.norm(np.diff(path.translation, axis=0), axis=1)))
    return np.repeat(np.array(relative) * (step, 1.0, 1.0), (3, 3, 1))


def _middle_keyframes(map_: SparseMap) -> np.ndarray:
    """(P,) int64: of the keyframes that see a landmark, the middle one, or the first if that was given; -1 for none."""
    seen = [np.unique(keyframe.landmark[keyframe.landmark >= 0]) for keyframe in map_.keyframes]
    landmark = np.concatenate(seen)
    keyframe = np.repeat(np.arange(len(seen)), [len(each) for each in seen])
    order = np.lexsort((keyframe, landmark))
    count = np.bincount(landmark, minlength=len(map_.points))
    first = np.cumsum(count) - count
    host = np.full(len(map_.points), -1, np.int64)
    known = count > 0
    oldest = keyframe[order][first[known]]
    host[known] = np.where(oldest < map_.num_given, oldest, keyframe[order][(first + count // 2)[known]])
    return host
