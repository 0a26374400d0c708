"""Report of task `slam`: errors of every configuration over all runs, and their change against the first one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evslam.eval.experiments.output import write_table
from evslam.eval.experiments.statistics import draws, interval, root_mean_square
from evslam.eval.tables import look_up

FIGURES = {
    "from start [deg]": "rotation.absolute_start.rmse",
    "best aligned [deg]": "rotation.absolute_best.rmse",
    "relative 1 s [deg]": "rotation.relative.rmse",
    "after time shift [deg]": "rotation.time_shift.rmse",
    "ATE Sim(3) [% of path]": "position.ate_sim3.rmse_percent_of_path",
}
NOTES = (
    "root mean square over the runs that every configuration finished [95 % bootstrap interval over runs]",
    "change: of the figure against the first configuration, the same runs drawn for both",
)


def summary(rows: list[Mapping[str, Any]], figures: Mapping[str, str] = FIGURES) -> pd.DataFrame:
    """One line per configuration: every figure that the runs have, with its interval and its change."""
    cells: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        job = row["job"]
        run = f"{job['sequence']['name']} {job['settings'].get('start_s', 0)} {job['seed']}"
        cells.setdefault(job["configuration"], {})[run] = row["figures"]
    names = list(cells)
    common = sorted(set.intersection(*(set(each) for each in cells.values())))
    counts = draws(len(common))
    lines: dict[str, dict[str, Any]] = {name: {"configuration": name, "runs": len(common)} for name in names}
    for title, path in figures.items():
        errors = {n: np.array([_number(look_up(cells[n][run], path)) for run in common]) for n in names}
        if not np.isfinite(errors[names[0]]).any():
            continue
        first = root_mean_square(counts, errors[names[0]])
        for name in names:
            each = root_mean_square(counts, errors[name])
            lines[name][title] = interval(each).text(3)
            lines[name][f"change of {title.rsplit(' [', 1)[0]} [%]"] = (
                "" if name == names[0] else interval(100 * (each / first - 1)).text(1)
            )
    return pd.DataFrame(list(lines.values()))


def report(rows: list[Mapping[str, Any]], out: Path) -> list[Path]:
    """Write the summary."""
    return write_table(summary(rows), out, "summary", NOTES)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
