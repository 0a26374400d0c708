"""Tables state alignment and window; results land in the folder of the run."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evslam.eval.evaluate import evaluate
from evslam.eval.report import write_evaluation
from evslam.eval.tables import format_table, table
from evslam.io.trajectory import load_trajectory
from evslam.types import Trajectory

MakeRun = Callable[..., Path]


def test_forms_agree_and_state_the_protocol(truth: Trajectory, make_run: MakeRun) -> None:
    run_dir = make_run(truth)
    figures = [evaluate(run_dir).figures, evaluate(run_dir).figures | {"run": "again", "position": {"reason": "none"}}]
    frame = pd.read_csv(io.StringIO(format_table(figures, "csv")))
    assert list(frame.columns) == list(table(figures).columns)
    assert frame["scale"].iloc[0] == pytest.approx(1.0)
    assert np.isnan(frame["scale"].iloc[1])
    for form in ("text", "markdown", "latex"):
        text = format_table(figures, form)
        assert "Sim(3) alignment of all positions (Umeyama), whole trajectory" in text
        assert "again: none" in text
        assert "1.0000" in text


def test_many_runs_stand_in_rows(truth: Trajectory, make_run: MakeRun) -> None:
    figures = evaluate(make_run(truth)).figures
    lines = format_table([figures | {"run": f"run {k}"} for k in range(6)]).splitlines()
    assert [line.split()[1] for line in lines[1:7]] == list("012345")


def test_results_are_written_and_merged(truth: Trajectory, make_run: MakeRun) -> None:
    run_dir = make_run(truth, losses=2)
    evaluation = evaluate(run_dir)
    write_evaluation(run_dir, evaluation)
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert metrics["losses"] == 2
    assert metrics["accuracy"]["position"]["ate_sim3"]["rmse"] < 1e-9
    assert json.loads((run_dir / "evaluation.json").read_text())["window"]["samples"] == len(truth)
    assert pd.read_csv(run_dir / "evaluation.csv")["losses"].tolist() == [2]
    aligned = load_trajectory(run_dir / "groundtruth_aligned.txt")
    np.testing.assert_allclose(aligned.position, truth.position, atol=1e-9)
    assert {path.name for path in (run_dir / "plots").iterdir()} >= {"trajectory.png", "pose.pdf", "error.png"}
