"""Which file of a folder is taken for the recording."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from evslam.errors import DataError
from evslam.eval.bench.format_files import random_events, write_evt3, write_text
from evslam.io.recording import open_recording


def test_full_names_come_before_patterns(tmp_path: Path) -> None:
    folder = tmp_path
    write_text(folder / "events.txt", random_events(50))
    write_evt3(folder / "a.raw", random_events(50))
    with h5py.File(folder / "rectify_map.h5", "w") as file:
        file["rectify_map"] = np.zeros((4, 4, 2))
    assert open_recording(folder).format == "Event Camera Dataset text"
    (folder / "events.txt").unlink()
    assert open_recording(folder).format == "Prophesee RAW"


def test_two_recordings_in_a_folder_are_refused(tmp_path: Path) -> None:
    for name in ("left.raw", "right.raw"):
        write_evt3(tmp_path / name, random_events(50))
    with pytest.raises(
        DataError, match=r"holds more than one recording \(left.raw, right.raw\); give one of these files"
    ):
        open_recording(tmp_path)
