"""Edges held out of an adjustment: what tells whether it has made a map better.

An edge's depth is measured with the nearest keyframes, and adjusted where `link.offsets` says. Seen from keyframes that
neither takes (`refine.held_out`), an edge is an observation that the adjustment knows nothing of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evslam.geometry.rigid import inverse
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_match import match_edges
from evslam.multiview.sparse_map import SparseMap

Seen = dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Agreement:
    """How far held-out edges are from where a map expects them, before and after a change.

    Attributes:
        number: edges found both times.
        before_px, after_px: mean of log(1 + offset^2) over them, as the offset that has that alone.
    """

    number: int
    before_px: float
    after_px: float

    def verdict(self, least: int, growth: float) -> str:
        """Whether the change is "accepted", "rejected" because the offset has grown by more than a factor, or, with
        fewer edges than `least`, "unchecked"."""
        if self.number < least:
            return "unchecked"
        return "accepted" if self.after_px <= growth * self.before_px else "rejected"

    def __str__(self) -> str:
        return f"{self.after_px:.3f} px instead of {self.before_px:.3f} ({self.number} edges)"


def held_out(map_: SparseMap, imager: EdgeImager, offsets: tuple[int, ...]) -> Seen:
    """Edges that keyframes see of hosts so many keyframes away.

    Returns:
        of host and target: which edges were found, as complex pixels in the host (N,), and how many pixels (N,) from
        where they were expected.
    """
    seen: Seen = {}
    for host, keyframe in enumerate(map_.keyframes):
        there = [host + offset for offset in offsets if map_.are_neighbours(host, host + offset)]
        images = {each: image for each in there if (image := map_.keyframes[each].image) is not None}
        if keyframe.edges is None or not len(keyframe.edges) or not images:
            continue
        poses = np.stack([map_.keyframes[each].T_cam_world for each in images]) @ inverse(keyframe.T_cam_world)
        lines, pairs = [keyframe.edges.lines(imager.canvas)], [(0, number) for number in range(len(images))]
        matches = match_edges(imager, lines, list(images.values()), pairs, poses, imager.config.match_px)
        name = keyframe.edges.pixel @ (1, 1j)
        for target, match in zip(images, matches, strict=True):
            seen[host, target] = name[match.found], match.offset[match.found]
    return seen


def agreement(before: Seen, after: Seen) -> Agreement:
    """Compare what was found both before and after."""
    pairs = []
    for key in before.keys() & after.keys():
        (names, offset), (new_names, new_offset) = before[key], after[key]
        _, row, new_row = np.intersect1d(names, new_names, assume_unique=True, return_indices=True)
        pairs.append(np.stack([offset[row], new_offset[new_row]]))
    both = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0))
    if not both.size:
        return Agreement(0, np.nan, np.nan)
    before_px, after_px = np.sqrt(np.expm1(np.log1p(both**2).mean(1)))
    return Agreement(both.shape[1], float(before_px), float(after_px))
