"""Tables of starts, and the errors of a short straight motion, with known values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.eval.association import Samples
from evslam.eval.bench.slider_excerpt import line_errors
from evslam.eval.bench.starts import false_starts, summary
from evslam.types import Trajectory


def trial(recording: str, wait_s: float | None, right: bool | None, later: bool | None = None) -> dict[str, Any]:
    row = {"recording": recording, "started": wait_s is not None, "wait_s": wait_s, "right": right}
    return row | {"right_in_the_end": right if later is None else later}


def test_shares_count_the_runs_that_started() -> None:
    rows = [trial("desk", 0.5, True), trial("desk", 1.5, False, later=True), trial("desk", None, None)]
    rows.append(trial("boxes", 0.7, True))
    table = summary(rows).set_index("recording")
    assert table.loc["desk"].tolist() == [3, 2, 1, "50.0", 2, "1.00", "1.50"]
    assert table.loc["all"].tolist() == [4, 3, 2, "66.7", 3, "0.70", "1.50"]


def test_nothing_started() -> None:
    assert summary([trial("desk", None, None)]).iloc[0].tolist() == ["desk", 1, 0, 0, "", 0, "", ""]


def test_every_start_of_a_turning_camera_is_false() -> None:
    rows = [trial("pan", None, None), trial("pan", 1.0, True), trial("fast", None, None)]
    assert false_starts(rows).to_numpy().tolist() == [["pan", 2, 1], ["fast", 1, 0], ["all", 3, 1]]


def test_errors_along_a_line() -> None:
    x = np.linspace(0, 0.04, 21)
    truth = Trajectory(np.arange(21) * 1000, np.tile([0.0, 0, 0, 0, 0, 0, 1], (21, 1)))
    truth.poses[:, 0] = x
    estimate = Trajectory(truth.t_us, truth.poses.copy())
    tilt = Rotation.from_euler("y", 5, degrees=True)
    estimate.poses[:, :3] = 3 * tilt.apply(truth.position)
    figures = line_errors(Samples(estimate, truth, ""))
    assert figures["moved_mm"] == pytest.approx(40)
    assert figures["direction_deg"] == pytest.approx(5)
    assert figures["path_rmse_mm"] == pytest.approx(0, abs=1e-6)
    assert figures["rotation_deg"] == pytest.approx(0)
    estimate.poses[:, 3:] = Rotation.from_rotvec(np.outer(0.1 * np.arange(21), [0, 0, 1]), degrees=True).as_quat()
    assert line_errors(Samples(estimate, truth, ""))["rotation_deg"] == pytest.approx(2)
