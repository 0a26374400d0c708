"""Report of task `spatial`: a table per family and sensor, and what every configuration changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evslam.eval.experiments.output import write_table
from evslam.eval.experiments.statistics import draws, interval, medians
from evslam.eval.tables import look_up

_ATE, _ONLINE, _SE3 = "ATE [%]", "online [%]", "SE(3) [%]"
_NO_POSITION = float("inf")  # a run without a trajectory is worse than any other

# Title -> where the figure stands, its decimals.
FIGURES: dict[str, tuple[str, int]] = {
    "null [%]": ("position.null.rmse_percent_of_path", 1),
    _ATE: ("position.ate_sim3.rmse_percent_of_path", 3),
    _ONLINE: ("online.ate_sim3.rmse_percent_of_path", 3),
    _SE3: ("scale.ate_se3_percent_of_path", 3),
    "drift [%]": ("scale.drift_percent", 2),
    "rotation [deg]": ("rotation.absolute_best.rmse", 3),
    "coverage [%]": ("coverage.percent", 1),
    "wait [s]": ("start.wait_s", 2),
    "real-time factor": ("real_time_factor", 2),
    "Mev per CPU s": ("work.mev_per_cpu_s", 2),
    "CPU s per s": ("work.cpu_s_per_s", 2),
}
_ERRORS = (_ATE, _ONLINE, _SE3)
_WITH_INTERVAL = (_ATE, _ONLINE)
NOTES = (
    "median over the runs [95 % bootstrap interval over runs]; a run without a trajectory counts as infinitely wrong",
    "failed: no trajectory, less than half of the time covered, or ATE above a quarter of null",
    "null, ATE, online, SE(3): RMSE of positions in percent of the path; null: of a motionless estimate; ATE: of the "
    "final trajectory after Sim(3) alignment; online: of the poses as told while running; SE(3): of the final "
    "trajectory with the scale of its first quarter",
    "drift: largest over smallest scale of the four quarters of a run, less one, from displacements over 0.3 s",
    "right starts: ATE of the first 3 s after the first pose under a quarter of null, of the runs that started",
    "losses, loops and further starts are sums over the runs",
)
CHANGE_NOTES = (
    "change: geometric mean of the ratio of the error to that of the first configuration, less one, over the runs that "
    "failed in neither [95 % bootstrap interval over runs]",
)


def runs_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One line per run with every figure, NaN where it is absent."""
    return pd.DataFrame([_line(row) for row in rows])


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    job, figures = row["job"], row["figures"]
    sequence, settings = job["sequence"], job["settings"]
    family = sequence.get("family") or sequence["name"]
    line: dict[str, Any] = {"family": family, "sensor": sequence.get("sensor", "standard")}
    line |= {"sequence": sequence["name"], "start [s]": settings.get("start_s", 0), "seed": job["seed"]}
    line |= {"configuration": job["configuration"], "failed": bool(figures["failed"])}
    for title, (path, _) in FIGURES.items():
        value = look_up(figures, path)
        line[title] = (_NO_POSITION if title in _ERRORS else np.nan) if value is None else float(value)
    line["right start"] = look_up(figures, "start.right")
    line["starts"] = look_up(figures, "work.starts") or 0
    line["commit"] = look_up(figures, "work.commit") or "unknown"
    line |= {key: look_up(figures, key) or 0 for key in ("losses", "loops")}
    return line


def families(runs: pd.DataFrame) -> pd.DataFrame:
    """One line per family, sensor and configuration."""
    keys = ["family", "sensor", "configuration"]
    lines = []
    for names, group in runs.groupby(keys, sort=False):
        line: dict[str, Any] = dict(zip(keys, names, strict=True))
        line |= {"runs": len(group), "failed": int(group["failed"].sum())}
        for title, (_, decimals) in FIGURES.items():
            line[title] = _median(group[title].to_numpy(), decimals, with_interval=title in _WITH_INTERVAL)
            if title == _ATE:
                line["worst"] = _number(float(group[title].max()), decimals)
            if title == "coverage [%]":
                line["least coverage [%]"] = _number(float(group[title].min()), decimals)
        started = group["right start"].notna()
        line["right starts"] = f"{int(group.loc[started, 'right start'].sum())} of {int(started.sum())}"
        line |= {key: int(group[key].sum()) for key in ("losses", "loops")}
        line["further starts"] = int((group["starts"] - 1).clip(lower=0).sum())
        lines.append(line)
    return pd.DataFrame(lines)


def changes(runs: pd.DataFrame) -> pd.DataFrame:
    """One line per configuration: failures, and the change of the errors against the first one, run by run."""
    names = list(dict.fromkeys(runs["configuration"]))
    tables = {name: runs[runs["configuration"] == name].set_index(["sequence", "start [s]", "seed"]) for name in names}
    first, lines = tables[names[0]], []
    for name in names:
        own = tables[name]
        both = first.index.intersection(own.index)
        both = both[~(first.loc[both, "failed"] | own.loc[both, "failed"]).to_numpy()]
        line: dict[str, Any] = {"configuration": name, "runs": len(own), "failed": int(own["failed"].sum())}
        line["compared"] = len(both)
        for title in (*_ERRORS, "drift [%]", "rotation [deg]"):
            change = _change(own.loc[both, title].to_numpy(float), first.loc[both, title].to_numpy(float))
            line[f"change of {title.rsplit(' [', 1)[0]} [%]"] = "" if name == names[0] else change
        line["real-time factor"] = _median(own["real-time factor"].to_numpy(), 2, with_interval=False)
        lines.append(line)
    return pd.DataFrame(lines)


def report(rows: list[Mapping[str, Any]], out: Path) -> list[Path]:
    """Write families, changes and runs as tables and families.json with all of it."""
    runs = runs_table(rows)
    commit = f"commit {', '.join(dict.fromkeys(runs['commit']))}"
    tables: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], tuple[str, ...]]] = {
        "families": (families, NOTES),
        "changes": (changes, CHANGE_NOTES),
        "runs": (lambda table: table, ()),
    }
    paths, content = [], {}
    for name, (make, notes) in tables.items():
        table = make(runs)
        paths += write_table(table, out, name, (*notes, commit))
        content[name] = json.loads(table.to_json(orient="records"))
    paths.append(out / "slam.json")
    paths[-1].write_text(json.dumps(content, indent=2), encoding="utf-8")
    return paths


def _median(values: np.ndarray, decimals: int, *, with_interval: bool) -> str:
    known = values[~np.isnan(values)]
    if not len(known):
        return ""
    found = interval(medians(draws(len(known)), known))
    return found.text(decimals) if with_interval else _number(found.value, decimals)


def _number(value: float, decimals: int) -> str:
    return "never" if np.isposinf(value) else "" if np.isnan(value) else f"{value:.{decimals}f}"


def _change(new: np.ndarray, old: np.ndarray) -> str:
    known = np.isfinite(new) & np.isfinite(old) & (new > 0) & (old > 0)
    if not known.any():
        return ""
    counts = draws(int(known.sum()))
    return interval(100 * (np.exp(counts @ np.log(new[known] / old[known]) / counts.sum(1)) - 1)).text(1)
