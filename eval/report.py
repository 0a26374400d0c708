"""Writing an evaluation into the folder of its run."""

from __future__ import annotations

from pathlib import Path

from evslam.eval.evaluate import Evaluation, load_metrics
from evslam.eval.tables import format_table
from evslam.io.results import write_metrics
from evslam.io.trajectory import save_trajectory
from evslam.viz.plots import plot_errors

_ACCURACY = ("groundtruth", "groundtruth_findings", "coverage", "window", "position", "rotation", "velocity")


def write_evaluation(run_dir: Path, evaluation: Evaluation) -> None:
    """Write evaluation.json, evaluation.csv, the plots, the aligned ground truth, and merge into metrics.json.

    metrics.json gains the key "accuracy"; it is replaced in one step, so that an interruption cannot harm it.
    """
    run_dir = Path(run_dir)
    figures = evaluation.figures
    write_metrics(figures, run_dir / "evaluation.json")
    (run_dir / "evaluation.csv").write_text(format_table([figures], "csv"), encoding="utf-8")
    accuracy = {key: figures[key] for key in _ACCURACY if key in figures}
    write_metrics(load_metrics(run_dir) | {"accuracy": accuracy}, run_dir / "metrics.json")
    series = evaluation.series
    save_trajectory(series.groundtruth_in_estimate, run_dir / "groundtruth_aligned.txt")
    plot_errors(run_dir, series.estimate, series.groundtruth, (series.position_m, series.rotation_deg))
