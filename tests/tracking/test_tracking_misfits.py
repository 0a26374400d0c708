"""Tracks that stay away from their landmark are told once, after so many frames in a row."""

from __future__ import annotations

import numpy as np

from evslam.tracking.misfits import Misfits


def test_a_track_is_told_after_so_many_frames_in_a_row() -> None:
    misfits, ids = Misfits(), np.array([3, 5, 2000])
    far = np.array([True, True, False])
    assert misfits.note(ids, far, 3).tolist() == []
    assert misfits.note(ids[:2], far[:2], 3).tolist() == []
    assert misfits.note(ids, np.array([True, False, True]), 3).tolist() == [3]
    assert misfits.note(ids, np.array([True, True, True]), 3).tolist() == []
    assert misfits.note(ids, np.array([True, True, True]), 3).tolist() == [2000]
    assert misfits.note(np.zeros(0, np.int64), np.zeros(0, bool), 3).tolist() == []
