"""Refinement of a finished map, and the final pose of every frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.backend.window import Window, adjust_window, choose_window
from evslam.multiview.bundle import BundleResult, centres
from evslam.multiview.edge_links import EdgeLinks
from evslam.multiview.sparse_map import SparseMap
from evslam.settings_mapping import RefineConfig, WindowConfig

Link = Callable[[list[int], np.ndarray], EdgeLinks | None]
_SMALL = 1e-12


@dataclass(frozen=True)
class Scope:
    """What an adjustment at the end covers.

    Attributes:
        first: so many keyframes, the first ones, held by the others; None for all.
        may_turn: False if keyframes keep their rotations.
        until_settled: after as many rounds as ever, up to `RefineConfig.more_rounds` more while keyframes still move.
    """

    first: int | None = None
    may_turn: bool = True
    until_settled: bool = False


ALL = Scope()


@dataclass(frozen=True)
class Adjustment:
    """What came of it.

    Attributes:
        rounds: results of each; a stretch with too few observations has none.
        moved: how far keyframes moved in the last one, as a share of their spread.
    """

    rounds: list[list[BundleResult]]
    moved: float

    @property
    def num_observations(self) -> int:
        """Of the last round."""
        return sum(len(result.error_px) for results in self.rounds[-1:] for result in results)

    @property
    def cost(self) -> float:
        """Of an observation in the last round; there must be some."""
        return sum(result.cost for result in self.rounds[-1]) / self.num_observations

    def explains(self, other: Adjustment, share: float, max_cost: float) -> bool:
        """Whether so large a share of what another one explains is explained, at so many times its cost at most."""
        if not self.num_observations or self.num_observations < share * other.num_observations:
            return False
        return other.num_observations > 0 and self.cost <= max_cost * other.cost

    def then(self, more: Adjustment) -> Adjustment:
        """This one and another one after it."""
        return Adjustment(self.rounds + more.rounds, more.moved)


Adjust = Callable[[SparseMap, Scope], Adjustment]


def refine_map(
    map_: SparseMap, link: Link, focal: float, limits: WindowConfig, config: RefineConfig, scope: Scope = ALL
) -> Adjustment:
    """Adjust keyframes, in overlapping stretches where they are many; the edges are found anew in each round.

    All others that see a stretch's landmarks hold it, not only its neighbours: a loop would open again.

    Args:
        map_: changed in place.
        link: finds the edges of keyframes, of which some are free, in each other.
        focal: pixels per unit of bearing.
        limits: of the solver and of what fits.
        config: rounds and size.
        scope: which keyframes, how free they are, and for how long.
    """
    sizes, rounds, moved = replace(limits, max_fixed=len(map_.keyframes)), list[list[BundleResult]](), 0.0
    for done in range(1, config.rounds + (config.more_rounds if scope.until_settled else 0) + 1):
        before, results = _centres(map_), list[BundleResult]()
        for window in _stretches(map_, config.keyframes, sizes, scope.first):
            window, links = replace(window, may_turn=scope.may_turn), link(window.views, window.is_free)
            result = adjust_window(map_, window, focal, limits, links)
            if result is not None:
                results.append(result)
        rounds.append(results)
        moved = _moved(before, _centres(map_))
        if done >= config.rounds and moved < config.settled:
            break
    return Adjustment(rounds, moved)


def _centres(map_: SparseMap) -> np.ndarray:
    """(K, 3) places of the keyframes."""
    return centres(np.stack([keyframe.T_cam_world for keyframe in map_.keyframes]))


def _moved(before: np.ndarray, after: np.ndarray) -> float:
    """How far places (K, 3) have moved, as a share of their spread."""
    return float(np.linalg.norm(after - before)) / max(float(np.linalg.norm(after - after.mean(0))), _SMALL)


def _stretches(map_: SparseMap, size: int, limits: WindowConfig, number: int | None) -> list[Window]:
    """Windows of at most `size` free keyframes among the first `number`, each half over the last one; the last may be
    smaller. Those of a given map stay."""
    first, count = map_.num_given, len(map_.keyframes) if number is None else number
    if count - first <= size:
        return [choose_window(map_, limits, range(first, count))] if first < count else []
    starts = list(range(first, count - size // 2, size // 2))
    return [choose_window(map_, limits, range(start, min(start + size, count))) for start in starts]


def corrected(
    t_us: np.ndarray, poses: np.ndarray, key_us: np.ndarray, key_index: np.ndarray, key_poses: np.ndarray
) -> np.ndarray:
    """Poses (N, 4, 4) between keyframes, bent so that they agree with the keyframes' own.

    The poses come from points alone, whose slow drift the keyframes' edges have corrected; the difference at the
    keyframes is interpolated over time.

    Args:
        t_us: (N,) times of the poses T_cam_world.
        poses: (N, 4, 4).
        key_us: (K,) times of keyframes, ascending.
        key_index: (K,) rows of t_us at these times.
        key_poses: (K, 4, 4) their T_cam_world.
    """
    difference = key_poses @ np.linalg.inv(poses[key_index])
    turn = Rotation.from_matrix(difference[:, :3, :3]).as_rotvec()
    terms = np.concatenate([turn, difference[:, :3, 3]], 1)
    between = np.stack([np.interp(t_us, key_us, column) for column in terms.T], 1)
    bend = np.tile(np.eye(4), (len(t_us), 1, 1))
    bend[:, :3, :3], bend[:, :3, 3] = Rotation.from_rotvec(between[:, :3]).as_matrix(), between[:, 3:]
    return bend @ poses
