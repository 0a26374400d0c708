"""Simulate, run and evaluate sequences of the built-in simulator: the table of the README.

python -m evslam.eval.bench.sequences --out runs/bench rot_pan rot_fast boxes_6dof --seeds 1 2
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from evslam.config import load_config
from evslam.demo import write_simulation
from evslam.eval.evaluate import evaluate
from evslam.eval.report import write_evaluation
from evslam.eval.tables import look_up, table
from evslam.provenance import versions
from evslam.runner import run
from evslam.session import RunOptions

COLUMNS = {
    "mode": ("mode", "{}"),
    "coverage [%]": ("coverage.percent", "{:.1f}"),
    "null rotation [deg]": ("rotation.null.rmse", "{:.1f}"),
    "from start [deg]": ("rotation.absolute_start.rmse", "{:.3f}"),
    "best aligned [deg]": ("rotation.absolute_best.rmse", "{:.3f}"),
    "relative 1 s [deg]": ("rotation.relative.rmse", "{:.3f}"),
    "best aligned after time shift [deg]": ("rotation.time_shift.rmse", "{:.3f}"),
    "null [% of path]": ("position.null.rmse_percent_of_path", "{:.1f}"),
    "ATE Sim(3) [% of path]": ("position.ate_sim3.rmse_percent_of_path", "{:.3f}"),
    "losses": ("losses", "{}"),
    "angular velocity [deg/s]": ("velocity.angular_velocity.rmse", "{:.2f}"),
    "real-time factor": ("real_time_factor", "{:.2f}"),
    "million events/s": ("events_per_second", "{:.2f}"),
}


def run_sequence(
    name: str, seed: int, folder: Path, overrides: list[str], duration_s: float | None = None
) -> dict[str, Any]:
    """Simulate one sequence (unless it is there), run it with `key=value` overrides and return its evaluation."""
    recording, out = folder / "recording", folder / "run"
    if not (recording / "meta.yaml").is_file():
        write_simulation(name, recording, seed, duration_s)
    run(RunOptions(recording, out, overwrite=True, progress=False), load_config(overrides=overrides))
    evaluation = evaluate(out)
    write_evaluation(out, evaluation)
    return evaluation.figures | {"run": f"{name}, seed {seed}"}


def markdown(evaluations: list[dict[str, Any]]) -> str:
    """One row per run with the columns of the README; those that no run has are left out."""
    rows = [{title: look_up(each, path) for title, (path, _) in COLUMNS.items()} for each in evaluations]
    shown = [title for title in COLUMNS if any(row[title] is not None for row in rows)]
    lines = ["| sequence | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for each, row in zip(evaluations, rows, strict=True):
        row["million events/s"] *= 1e-6
        cells = ["" if row[title] is None else COLUMNS[title][1].format(row[title]) for title in shown]
        lines.append(f"| {each['run']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--mode", default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one key")
    parser.add_argument("--duration", type=float)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    arguments = parser.parse_args()
    overrides = [f"mode={arguments.mode}", *arguments.set]
    evaluations = [
        run_sequence(name, seed, arguments.out / f"{name}_{seed}", overrides, arguments.duration)
        for name in arguments.names
        for seed in arguments.seeds
    ]
    table(evaluations).to_csv(arguments.out / "sequences.csv", index=False)
    print(markdown(evaluations))
    print(", ".join(f"{key} {value}" for key, value in versions().items() if key in ("commit", "platform", "torch")))


if __name__ == "__main__":
    main()
