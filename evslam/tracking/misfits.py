"""Tracks that stay away from their landmark: they have slipped to something else."""

from __future__ import annotations

import numpy as np


class Misfits:
    """Counts, per track, the frames in a row in which it was far from its landmark."""

    def __init__(self) -> None:
        self.counts = np.zeros(0, np.int64)

    def note(self, ids: np.ndarray, is_far: np.ndarray, most: int) -> np.ndarray:
        """One more frame.

        Args:
            ids: (M,) ascending, tracks that have a landmark.
            is_far: (M,) bool.
            most: frames in a row.

        Returns:
            Tracks that were far in so many frames; they are counted anew.
        """
        if len(ids) and ids[-1] >= len(self.counts):
            self.counts = np.concatenate([self.counts, np.zeros(ids[-1] + 1024 - len(self.counts), np.int64)])
        self.counts[ids[is_far]] += 1
        self.counts[ids[~is_far]] = 0
        wrong = ids[self.counts[ids] >= most]
        self.counts[wrong] = 0
        return wrong
