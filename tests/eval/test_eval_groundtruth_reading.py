"""Evaluation against ground truth of another form, frame, unit or direction."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evslam.cli import main
from evslam.eval.evaluate import evaluate_run
from evslam.io.trajectory import save_trajectory
from evslam.io.transforms import compose, invert, parse_transform
from evslam.types import Trajectory

MakeRun = Callable[..., Path]
HAND_EYE = "0.1 -0.2 0.3 0 0 0.6 0.8"


def lines(trajectory: Trajectory, scale: float, columns: list[int]) -> str:
    rows = zip(trajectory.t_us.tolist(), trajectory.poses[:, columns].tolist(), strict=True)
    return "".join(f"{t * scale:.6f} {' '.join(f'{value:.12g}' for value in pose)}\n" for t, pose in rows)


def test_options_of_the_command_line(
    truth: Trajectory, make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(truth)
    body = Trajectory(truth.t_us - 500_000, compose(truth.poses, invert(parse_transform(HAND_EYE))))
    backwards = Trajectory(body.t_us, invert(body.poses))
    path = tmp_path / "mocap.txt"
    path.write_text(lines(backwards, 1e-3, [0, 1, 2, 6, 3, 4, 5]))
    options = ["--gt-unit", "ms", "--gt-order", "wxyz", "--gt-inverse", "--gt-offset", "0.5", "--hand-eye", HAND_EYE]
    assert main(["eval", str(run), "--groundtruth", str(path), *options]) == 0
    figures = json.loads((run / "metrics.json").read_text())["accuracy"]
    assert figures["position"]["ate_se3"]["rmse"] < 1e-6
    assert figures["rotation"]["absolute_best"]["rmse"] < 1e-3
    capsys.readouterr()
    assert main(["eval", str(run), "--groundtruth", str(path)]) == 2
    assert "evidently no seconds but milliseconds" in capsys.readouterr().err


def test_the_run_remembers_how_its_ground_truth_is_read(truth: Trajectory, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(truth)
    save_trajectory(Trajectory(truth.t_us, invert(truth.poses)), tmp_path / "inverse.txt")
    metrics = json.loads((run / "metrics.json").read_text())
    reading = {"unit": "s", "order": None, "inverse": True, "times": None, "T_body_cam": None, "offset_s": 0.0}
    metrics |= {"groundtruth": str(tmp_path / "inverse.txt"), "groundtruth_reading": reading}
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert evaluate_run(run)["position"]["ate_se3"]["rmse"] < 1e-6


def test_a_wrong_reading_is_named_by_the_estimate(truth: Trajectory, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(truth)
    w_first = np.hstack([truth.position, truth.quaternion[:, [3, 0, 1, 2]]])
    save_trajectory(Trajectory(truth.t_us, w_first), tmp_path / "w_first.txt")
    findings = evaluate_run(run, tmp_path / "w_first.txt")["groundtruth_findings"]
    assert any("the estimate disagrees with the ground truth's rotation" in each for each in findings)
    assert evaluate_run(run)["groundtruth_findings"] == []
