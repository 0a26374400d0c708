"""Keyframes of a map by what they look like: the one index that loops, returns and joined maps are looked up in."""

from __future__ import annotations

import numpy as np

from evslam.backend.places import Vocabulary
from evslam.multiview.sparse_map import SparseMap
from evslam.settings_places import PlacesConfig


class LookIndex:
    """Words learned from the keyframes themselves, anew whenever there are twice as many; each keyframe in these words.

    Args:
        num_words: of the vocabulary.
        seed: of the choice of words.

    Attributes:
        vocabulary: None before the first keyframe; learned_from: so many keyframes.
        keyframes: (K,) int64, numbers of those that show something, ascending, as of the last `update`.
    """

    def __init__(self, num_words: int, seed: int) -> None:
        self.num_words, self.seed = num_words, seed
        self.vocabulary: Vocabulary | None = None
        self.learned_from = 0
        self.keyframes = np.zeros(0, np.int64)
        self._rows = np.zeros(0, np.int64)  # of the keyframes, among the summaries
        self._row_of: dict[int, int] = {}  # by the time of the keyframe
        self._free: list[int] = []  # rows of keyframes that are gone
        self._summaries = np.zeros((0, 0), np.float32)  # with room for more

    def update(self, map_: SparseMap) -> None:
        """Take in the keyframes that are new, and forget those that are gone."""
        looks = [keyframe.look for keyframe in map_.keyframes]
        shown = {k: look for k, look in enumerate(looks) if look is not None and len(look)}
        times = [map_.keyframes[k].t_us for k in shown]
        for t_us in sorted(set(self._row_of).difference(times)):
            self._free.append(self._row_of.pop(t_us))
        if shown:
            vocabulary = self._learned(list(shown.values()))
            for t_us, look in zip(times, shown.values(), strict=True):
                if t_us not in self._row_of:
                    self._add(t_us, vocabulary.summary(look.astype(np.float32)))
        self.keyframes = np.array(list(shown), np.int64)
        self._rows = np.array([self._row_of[t_us] for t_us in times], np.int64)

    def nearest(self, descriptor: np.ndarray | None, most: int, before: int | None = None) -> list[int]:
        """Keyframes that look most like an image with these descriptors (N, D), the most alike first.

        Args:
            descriptor: see `places.describe`, in any precision; none, or None, look like nothing.
            most: keyframes, at most.
            before: number of a keyframe, only older ones count; None for all.
        """
        if self.vocabulary is None or descriptor is None or not len(descriptor):
            return []
        old = self.keyframes if before is None else self.keyframes[self.keyframes < before]
        summary = self.vocabulary.summary(descriptor.astype(np.float32))
        return self._sorted(old, self._alike(summary)[: len(old)], most)

    def alike(self, new: int, config: PlacesConfig) -> list[int]:
        """Keyframes long before number `new` that look nearly as much like it as its neighbours, the most alike
        first."""
        place = int(np.searchsorted(self.keyframes, new))
        apart = new - self.keyframes
        is_old, is_near = apart > config.min_gap, (apart != 0) & (np.abs(apart) <= config.min_gap)
        if new not in self.keyframes[place : place + 1] or not is_old.any() or not is_near.any():
            return []
        alike = self._alike(self._summaries[self._rows[place]])
        good = np.flatnonzero(is_old & (alike > config.min_alike * alike[is_near].max()))
        return self._sorted(self.keyframes[good], alike[good], config.candidates)

    def _alike(self, summary: np.ndarray) -> np.ndarray:
        return np.asarray((self._summaries[: len(self._row_of) + len(self._free)] @ summary)[self._rows])

    @staticmethod
    def _sorted(keyframes: np.ndarray, alike: np.ndarray, most: int) -> list[int]:
        return [int(each) for each in keyframes[np.argsort(-alike, kind="stable")[:most]]]

    def _learned(self, looks: list[np.ndarray]) -> Vocabulary:
        if self.vocabulary is None or len(looks) >= 2 * self.learned_from:
            self.vocabulary = Vocabulary(np.concatenate(looks).astype(np.float32), self.num_words, self.seed)
            self.learned_from, self._row_of, self._free = len(looks), {}, []
        return self.vocabulary

    def _add(self, t_us: int, summary: np.ndarray) -> None:
        row = self._free.pop() if self._free else len(self._row_of)
        if row >= len(self._summaries) or self._summaries.shape[1] != len(summary):
            room = np.zeros((max(2 * row, 64), len(summary)), np.float32)
            room[:row] = self._summaries[:row] if row else 0
            self._summaries = room
        self._summaries[row], self._row_of[t_us] = summary, row
