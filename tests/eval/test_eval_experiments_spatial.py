"""The 6-DoF experiment: families, tables and the task, on made-up and on tiny runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evslam.errors import ConfigError
from evslam.eval.experiments import spatial_task
from evslam.eval.experiments.jobs import Job, Sequence
from evslam.eval.experiments.spatial_report import changes, families, report, runs_table
from evslam.eval.experiments.spec import load_experiment
from evslam.eval.experiments.statistics import draws, medians
from evslam.io.trajectory import save_trajectory
from evslam.session import RunOptions
from evslam.types import Trajectory


def row(name: str, configuration: str, ate: float | None, **more: Any) -> dict[str, Any]:
    sequence = {"name": name, "family": name.split()[0], "sensor": "standard"}
    job = {"sequence": sequence, "configuration": configuration, "settings": {"start_s": 2.0}, "seed": 0}
    position = {"null": {"rmse_percent_of_path": 8.0}, "ate_sim3": {"rmse_percent_of_path": ate}}
    figures = {"position": position, "failed": ate is None or ate > 2.0, "coverage": {"percent": 90.0}}
    figures |= {"losses": 1, "work": {"starts": 2}, "start": {"wait_s": 0.5, "right": ate is not None and ate < 2}}
    return {"job": job, "figures": figures | more}


def test_families_have_medians_worst_and_failures() -> None:
    rows = [row("desk 1", "default", 0.2), row("desk 2", "default", 0.4), row("desk 3", "default", None)]
    line = families(runs_table([*rows, row("boxes 1", "default", 0.1)])).set_index("family").loc["desk"]
    assert (line["runs"], line["failed"], line["worst"]) == (3, 1, "never")
    assert line["ATE [%]"].startswith("0.400 [0.200, ")  # the run without a trajectory is the worst
    assert line["null [%]"] == "8.0"
    assert line["right starts"] == "2 of 3"
    assert (line["losses"], line["loops"], line["further starts"]) == (3, 0, 3)


def test_configurations_are_compared_run_by_run() -> None:
    rows = [row("desk 1", "default", 0.2), row("desk 2", "default", 0.4), row("desk 3", "default", 0.3)]
    rows += [row("desk 1", "other", 0.1), row("desk 2", "other", 0.2), row("desk 3", "other", 7.0)]
    table = changes(runs_table(rows)).set_index("configuration")
    assert table["failed"].tolist() == [0, 1]
    assert table["compared"].tolist() == [3, 2]
    assert table.loc["other", "change of ATE [%]"] == "-50.0 [-50.0, -50.0]"
    assert table.loc["default", "change of ATE [%]"] == ""


def test_medians_of_draws_are_medians_of_the_drawn_values() -> None:
    values, counts = np.array([3.0, 1.0, np.inf, 2.0, 9.0]), draws(5)[:60]
    expected = [np.sort(np.repeat(values, each.astype(int))) for each in counts]
    assert medians(counts, values).tolist() == [(e[(len(e) - 1) // 2] + e[len(e) // 2]) / 2 for e in expected]


def test_the_report_is_written_in_every_form(tmp_path: Path) -> None:
    paths = report([row("desk 1", "default", 0.25)], tmp_path)
    names = {f"{name}.{form}" for name in ("families", "changes", "runs") for form in ("csv", "md", "tex")}
    assert {path.name for path in paths} == names | {"slam.json"}
    content = json.loads((tmp_path / "slam.json").read_text())
    assert content["runs"][0]["ATE [%]"] == 0.25
    assert content["families"][0]["ATE [%]"] == "0.250 [0.250, 0.250]"


def test_lists_make_a_family(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    entry = {"simulate": "desk", "seed": [1, 2], "sensor": ["standard", "sparse"], "start_s": 3}
    path.write_text(json.dumps({"task": "spatial", "sequences": {"desk": entry}, "configurations": {"default": {}}}))
    jobs = load_experiment(str(path)).jobs()
    assert [each.sequence.name for each in jobs] == [
        f"desk seed {seed} sensor {sensor}" for seed in (1, 2) for sensor in ("standard", "sparse")
    ]
    assert {each.sequence.family for each in jobs} == {"desk"}
    assert all(each.settings == {"start_s": 3} for each in jobs)
    assert jobs[1].sequence.sensor == "sparse"
    path.write_text(json.dumps({"task": "spatial", "sequences": {"desk": entry | {"recording": "x"}}}))
    with pytest.raises(ConfigError, match="either recording or simulate"):
        load_experiment(str(path))


def test_every_configuration_of_the_installed_experiments_is_valid() -> None:
    from evslam.config import load_config

    for name in ("slam", "slam_quick"):
        for settings in load_experiment(name).configurations.values():
            load_config(overrides=[f"{key}={value}" for key, value in settings.items()])


@pytest.fixture
def task(truth: Trajectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the task with a given online and final trajectory instead of a real run."""

    class Opened:
        groundtruth = truth

    def play(online: Trajectory, final: Trajectory) -> dict[str, Any]:
        def fake(options: RunOptions, config: Any) -> dict[str, Any]:
            assert (options.start_s, options.duration_s, config.mode, config.seed) == (0.5, 5.5, "6dof", 3)
            assert config.link.offsets == ()
            save_trajectory(truth, tmp_path / "groundtruth.txt")
            save_trajectory(online, options.out / "trajectory_online.txt")
            save_trajectory(final, options.out / "trajectory.txt")
            metrics = {"mode": "6dof", "status": "complete", "groundtruth": str(tmp_path / "groundtruth.txt")}
            metrics |= {"start_us": 500_000, "stop_us": 6_000_000, "losses": 0, "starts": 1}
            metrics |= {"events": 4_000_000, "cpu_s": 2.75, "duration_s": 5.5}
            (options.out / "metrics.json").write_text(json.dumps(metrics))
            return metrics

        monkeypatch.setattr(spatial_task, "run_slam", fake)
        monkeypatch.setattr(spatial_task, "open_recording", lambda path: Opened)
        settings = {"start_s": 0.5, "duration_s": 5.5, "link.offsets": []}
        return spatial_task.run(Job("spatial", Sequence("s", "here"), "tracks only", settings, 3), tmp_path)

    return play


def test_the_task_judges_final_and_online_estimate(task: Any, truth: Trajectory) -> None:
    late = truth.t_us >= 1_500_000
    wrong = truth.poses[late].copy()
    wrong[:, :3] += 0.1 * np.sin(20e-6 * truth.t_us[late])[:, None]
    figures = task(Trajectory(truth.t_us[late], wrong), Trajectory(truth.t_us[late], truth.poses[late]))
    assert not figures["failed"]
    assert figures["position"]["ate_sim3"]["rmse"] == pytest.approx(0, abs=1e-6)
    assert figures["online"]["ate_sim3"]["rmse"] == pytest.approx(0.1 * math.sqrt(1.5), rel=0.1)
    assert figures["start"]["wait_s"] == pytest.approx(1.0)
    assert figures["coverage"]["percent"] == pytest.approx(100 * 4.5 / 5.5, abs=0.2)
    assert figures["work"]["mev_per_cpu_s"] == pytest.approx(4 / 2.75)
    assert figures["work"]["cpu_s_per_s"] == pytest.approx(0.5)


@pytest.mark.parametrize("what", ["no poses", "half of it", "wrong"])
def test_failures_are_results(task: Any, truth: Trajectory, what: str) -> None:
    part = slice(0, {"no poses": 0, "half of it": 400, "wrong": None}[what])
    poses = truth.poses[part].copy()
    if what == "wrong":
        poses[:, :3] = np.random.default_rng(0).normal(size=(len(poses), 3))
    estimate = Trajectory(truth.t_us[part], poses)
    figures = task(estimate, estimate)
    assert figures["failed"]
    line = runs_table([{"job": row("s", "x", 1.0)["job"], "figures": figures}]).iloc[0]
    assert (line["ATE [%]"] == math.inf) == (what == "no poses")
