"""Keyframes of a map that grows, by what they look like."""

from __future__ import annotations

import numpy as np

from evslam.backend.places import Vocabulary
from evslam.multiview.sparse_map import SparseMap
from evslam.settings_mapping import PlacesConfig


class LookIndex:
    """Words learned from the keyframes themselves, anew whenever there are twice as many; each keyframe in these words.

    Args:
        num_words: of the vocabulary.
        seed: of the choice of words.

    Attributes:
        vocabulary: None before the first search; learned_from: so many keyframes.
    """

    def __init__(self, num_words: int, seed: int) -> None:
        self.num_words, self.seed = num_words, seed
        self.vocabulary: Vocabulary | None = None
        self.learned_from = 0
        self._summaries: dict[int, np.ndarray] = {}  # by the time of the keyframe

    def alike(self, map_: SparseMap, new: int, config: PlacesConfig) -> list[int]:
        """Keyframes long before number `new` that look like it, the most alike first."""
        looks = [keyframe.look for keyframe in map_.keyframes]
        shown = {k: look for k, look in enumerate(looks) if look is not None and len(look)}
        old = [k for k in shown if k < new - config.min_gap]
        near = [k for k in shown if 0 < abs(k - new) <= config.min_gap]
        if new not in shown or not old or not near:
            return []
        vocabulary = self._learned(list(shown.values()))
        times, summaries = [map_.keyframes[k].t_us for k in shown], self._summaries
        self._summaries = {
            t_us: summaries[t_us] if t_us in summaries else vocabulary.summary(look.astype(np.float32))
            for t_us, look in zip(times, shown.values(), strict=True)
        }
        by_number = dict(zip(shown, self._summaries.values(), strict=True))
        alike, usual = (np.stack([by_number[k] for k in group]) @ by_number[new] for group in (old, near))
        order = np.argsort(-alike, kind="stable")[: config.candidates]
        return [old[row] for row in order.tolist() if alike[row] > config.min_alike * usual.max()]

    def _learned(self, looks: list[np.ndarray]) -> Vocabulary:
        if self.vocabulary is None or len(looks) >= 2 * self.learned_from:
            self.vocabulary = Vocabulary(np.concatenate(looks).astype(np.float32), self.num_words, self.seed)
            self.learned_from, self._summaries = len(looks), {}
        return self.vocabulary
