"""Tables of evaluations: fixed columns that carry alignment and unit, as text, CSV, LaTeX and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd

TableForm = Literal["text", "csv", "latex", "markdown"]

_TRANSPOSE_UP_TO = 4

# Column title -> where the figure stands in an evaluation, and its decimals (None: as it is).
_COLUMNS: dict[str, tuple[str, int | None]] = {
    "run": ("run", None),
    "mode": ("mode", None),
    "status": ("status", None),
    "window start [s]": ("window.start_s", 3),
    "window stop [s]": ("window.stop_s", 3),
    "coverage [%]": ("coverage.percent", 1),
    "path [m]": ("position.path_length_m", 3),
    "ATE Sim(3) [m]": ("position.ate_sim3.rmse", 4),
    "ATE Sim(3) [% of path]": ("position.ate_sim3.rmse_percent_of_path", 3),
    "null ATE [% of path]": ("position.null.rmse_percent_of_path", 3),
    "scale": ("position.ate_sim3.scale", 4),
    "ATE SE(3) [m]": ("position.ate_se3.rmse", 4),
    "rotation Sim(3) [deg]": ("position.ate_sim3.rotation.rmse", 3),
    "RPE 1 s [m]": ("position.rpe_translation.rmse", 4),
    "RPE 1 s [deg]": ("rotation.relative.rmse", 3),
    "rotation from start [deg]": ("rotation.absolute_start.rmse", 3),
    "rotation best aligned [deg]": ("rotation.absolute_best.rmse", 3),
    "null rotation [deg]": ("rotation.null.rmse", 2),
    "time shift [ms]": ("rotation.time_shift.shift_ms", 2),
    "rotation after shift [deg]": ("rotation.time_shift.rmse", 3),
    "angular velocity [deg/s]": ("velocity.angular_velocity.rmse", 2),
    "losses": ("losses", 0),
    "real-time factor": ("real_time_factor", 2),
    "events/s": ("events_per_second", 0),
    "memory [MB]": ("peak_memory_mb", 0),
}


def look_up(evaluation: Mapping[str, Any], path: str) -> Any:
    """Figure at a dotted path such as `position.ate_sim3.rmse`, None where it is absent."""
    value: Any = evaluation
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def table(evaluations: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per evaluation, always the same columns; absent figures are None."""
    rows = [{title: look_up(each, path) for title, (path, _) in _COLUMNS.items()} for each in evaluations]
    return pd.DataFrame(rows, columns=list(_COLUMNS), dtype=object)


def notes(evaluations: Sequence[Mapping[str, Any]]) -> list[str]:
    """How each column was computed and why figures are absent: the lines that belong under every table."""
    titles: dict[str, dict[str, None]] = {}
    for evaluation in evaluations:
        for title, (path, _) in _COLUMNS.items():
            protocol = look_up(evaluation, path.rpartition(".")[0] + ".protocol")
            if protocol is not None and look_up(evaluation, path) is not None:
                titles.setdefault(protocol, {})[title] = None
    lines = [f"{', '.join(columns)}: {protocol}" for protocol, columns in titles.items()]
    reasons = [f"{each.get('run')}: {reason}" for each in evaluations for reason in _reasons(each)]
    return lines + list(dict.fromkeys(reasons))


def _reasons(evaluation: Any) -> list[str]:
    if not isinstance(evaluation, Mapping):
        return []
    own = [str(evaluation["reason"])] if "reason" in evaluation else []
    return own + [reason for value in evaluation.values() for reason in _reasons(value)]


def format_table(evaluations: Sequence[Mapping[str, Any]], form: TableForm = "text") -> str:
    """Write a table, with its notes.

    Args:
        evaluations: results of `evaluate_run`.
        form: "text" and "markdown" round, leave empty columns out and put the notes below; "latex" has the notes as
            comments; "csv" has every column in full precision and no notes (evaluation.json holds them).
    """
    frame = table(evaluations)
    if form == "csv":
        return frame.to_csv(index=False)
    shown = pd.DataFrame({title: _rounded(frame[title], decimals) for title, (_, decimals) in _COLUMNS.items()})
    shown = shown.loc[:, (shown != "").any()]
    if form == "latex":
        body = shown.to_latex(index=False, escape=True, column_format="l" + "r" * (shown.shape[1] - 1))
        return body + "".join(f"% {line}\n" for line in notes(evaluations))
    if form == "markdown":
        below = "".join(f"- {line}\n" for line in notes(evaluations))
        return f"{shown.to_markdown(index=False, disable_numparse=True)}\n\n{below}"
    below = "".join(f"  {line}\n" for line in notes(evaluations))
    return f"{_as_text(shown)}\n\n{below}"


def _rounded(column: pd.Series, decimals: int | None) -> list[str]:
    return ["" if value is None else str(value) if decimals is None else f"{value:.{decimals}f}" for value in column]


def _as_text(shown: pd.DataFrame) -> str:
    if len(shown) > _TRANSPOSE_UP_TO:
        return shown.to_string(index=False)
    return shown.T.to_string(header=False)
