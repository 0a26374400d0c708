"""The table of the SLAM experiment: pooled errors and paired changes."""

from __future__ import annotations

from typing import Any

import pytest

from evslam.eval.experiments.slam_report import summary


def row(name: str, start_s: float, configuration: str, error: float | None) -> dict[str, Any]:
    job = {"sequence": {"name": name}, "settings": {"start_s": start_s}, "configuration": configuration, "seed": 0}
    return {"job": job, "figures": {"rotation": {"absolute_start": {"rmse": error}}}}


def test_errors_are_pooled_and_compared_run_by_run() -> None:
    runs = [("pan", 0.0, 0.3), ("pan", 1.0, 0.4), ("fast", 0.0, 1.2)]
    rows = [row(name, start, "raw", error) for name, start, error in runs]
    rows += [row(name, start, "functional", 0.9 * error) for name, start, error in runs]
    rows.append(row("only one has it", 0.0, "raw", 50.0))
    table = summary(rows).set_index("configuration")
    assert table["runs"].tolist() == [3, 3]
    value = float(table.loc["raw", "from start [deg]"].split(" [")[0])
    assert value == pytest.approx(((0.09 + 0.16 + 1.44) / 3) ** 0.5, abs=1e-3)
    assert table.loc["raw", "change of from start [%]"] == ""
    assert table.loc["functional", "change of from start [%]"] == "-10.0 [-10.0, -10.0]"  # the same share in every run
    assert "best aligned [deg]" not in table


def test_missing_figures_do_not_count() -> None:
    rows = [row("a", 0, "raw", 1.0), row("b", 0, "raw", None), row("a", 0, "new", 0.5), row("b", 0, "new", 0.5)]
    table = summary(rows).set_index("configuration")
    assert table.loc["raw", "from start [deg]"].startswith("1.000")
    assert table.loc["new", "from start [deg]"].startswith("0.500")
