"""The experiment runner: files, cache, failures, dying processes, a Dask cluster that loses a worker."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from evslam.errors import ConfigError, DataError
from evslam.eval.experiments.__main__ import main
from evslam.eval.experiments.jobs import Cache, Job, Sequence, Workplace, dask, local, materialise, run_jobs
from evslam.eval.experiments.spec import load_experiment

TASK = "experiment_task"


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    (tmp_path / "data" / "here").mkdir(parents=True)
    return Workplace(tmp_path / "data", tmp_path / "simulated")


def job(name: str, seed: int = 0, **settings: object) -> Job:
    return Job(TASK, Sequence("s", "here"), name, dict(settings), seed)


def calls(place: Workplace, of: Job) -> int:
    path = place.data / "here" / f"calls-{of.file_name}"
    return len(path.read_text()) if path.exists() else 0


def squares(rows: list[dict]) -> list[int]:
    return [row["figures"]["square"] for row in rows]


def test_results_come_in_the_order_of_the_jobs_and_are_not_computed_twice(place: Workplace, tmp_path: Path) -> None:
    jobs = [job(str(k), seed=k, value=k) for k in (3, 1, 2)]
    seen: Counter[str] = Counter()
    for _ in range(2):
        rows = run_jobs(jobs, Cache(tmp_path / "jobs"), place, local(1), lambda row: seen.update([row["status"]]))
        assert squares(rows) == [12, 2, 6]
    assert [calls(place, each) for each in jobs] == [1, 1, 1]
    assert seen == {"done": 6}


def test_a_result_belongs_to_what_the_job_is_not_to_its_name(place: Workplace, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "jobs")
    first = run_jobs([job("a", value=2)], cache, place, local(1))
    assert squares(run_jobs([job("a", value=3), job("a", value=2, seed=1)], cache, place, local(1))) == [9, 5]
    assert first[0]["job"]["settings"] == {"value": 2}


def test_failures_are_rows_and_are_tried_again(place: Workplace, tmp_path: Path) -> None:
    jobs = [job("good", value=2), job("bad", what="refuse", value=7), job("worse", what="crash")]
    for _ in range(2):
        good, bad, worse = run_jobs(jobs, Cache(tmp_path / "jobs"), place, local(1))
    assert good["status"] == "done"
    assert bad["error"] == "value 7 is refused; give another"
    assert "traceback" not in bad
    assert worse["error"] == "ZeroDivisionError: by zero"
    assert "experiment_task.py" in worse["traceback"]
    assert [calls(place, each) for each in jobs] == [1, 2, 2]


def test_half_a_result_is_computed_again(place: Workplace, tmp_path: Path) -> None:
    cache, one = Cache(tmp_path / "jobs"), job("a", value=5)
    run_jobs([one], cache, place, local(1))
    (cache.folder / one.file_name).write_text('{"status": "do')
    assert squares(run_jobs([one], cache, place, local(1))) == [25]


def test_a_process_that_dies_takes_no_other_job_with_it(place: Workplace, tmp_path: Path) -> None:
    jobs = [job("dies", what="die"), job("once", what="die once", value=3)]
    rows = run_jobs(jobs, Cache(tmp_path / "jobs"), place, local(2))
    assert [row["status"] for row in rows] == ["failed", "done"]
    assert "process died" in rows[0]["error"]
    assert squares(rows[1:]) == [9]


def test_a_dask_cluster_survives_the_death_of_a_worker(place: Workplace, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    jobs = [job("once", what="die once", value=9), *(job(str(k), value=k) for k in range(4))]
    jobs.append(job("refused", what="refuse"))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        rows = run_jobs(jobs, Cache(tmp_path / "jobs"), place, dask(cluster.scheduler_address))
    assert squares(rows[:-1]) == [81, 0, 1, 4, 9]
    assert calls(place, jobs[0]) == 2
    assert "is refused" in rows[-1]["error"]


def test_no_scheduler_at_the_address() -> None:
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    with pytest.raises(ConfigError, match="check --scheduler"):
        dask("nonsense://nowhere")


def test_simulated_sequences_are_made_once(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple] = []

    def write(name: str, folder: Path, seed: int, duration_s: float | None, sensor: str) -> int:
        made.append((name, seed, duration_s, sensor))
        (folder / "meta.yaml").write_text("x")
        return 1

    monkeypatch.setattr("evslam.demo.write_simulation", write)
    sequence = Sequence("pan", None, "rot_pan", 3, 0.5)
    path = materialise(sequence, place)
    assert materialise(sequence, place) == path
    assert made == [("rot_pan", 3, 0.5, "standard")]
    assert [each.name for each in place.simulated.iterdir()] == ["rot_pan_seed3_0.5s"]
    with pytest.raises(DataError, match="with --data"):
        materialise(Sequence("x", "nowhere"), place)


def test_an_experiment_is_the_product_of_its_lists(experiment: Callable[..., Path]) -> None:
    path = experiment(seeds=[0, 1], settings={"value": 1, "other": 2}, grid={"value": [3, 4], "what": ["a"]})
    jobs = load_experiment(str(path)).jobs()
    assert Counter(each.configuration for each in jobs) == {"3/a": 2, "4/a": 2}
    assert jobs[0].settings == {"value": 3, "other": 2, "what": "a"}
    assert [each.seed for each in jobs] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "nothing"}, r"task 'nothing' does not exist; give egomotion, slam, spatial or a module"),
        ({"task": "nowhere.task"}, "task 'nowhere.task' does not exist"),
        ({"sequence": {}}, r"unknown key sequence; known keys are"),
        ({"sequences": {"a": {"recording": "x", "simulate": "y"}}}, "give either recording or simulate"),
        ({"sequences": {"a": {"recordin": "x"}}}, "sequence a: unknown key recordin"),
        ({"grid": ["kernel"]}, r"grid is \['kernel'\]; give a mapping"),
    ],
)
def test_wrong_files_are_told(experiment: Callable[..., Path], change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_experiment(str(experiment(**change)))


def test_every_installed_experiment_can_be_read() -> None:
    with pytest.raises(ConfigError, match=r"'nothing' does not exist; .*egomotion\.yaml"):
        load_experiment("nothing")
    full = load_experiment("egomotion.yaml")
    assert full.name == "egomotion"
    assert len(full.jobs()) == len(full.sequences) * len(full.configurations)


def test_the_command_writes_tables_and_lists_failures(
    experiment: Callable[..., Path], place: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = experiment(configurations={"good": {"value": 4}, "bad": {"what": "refuse", "value": 1}})
    arguments = [str(path), "--data", str(place.data), "--out", str(tmp_path / "out"), "--jobs", "1"]
    assert main(arguments) == 0
    out = tmp_path / "out" / "mine"
    assert pd.read_csv(out / "figures.csv").to_dict("records") == [
        {"sequence": "s", "configuration": "good", "seed": 0, "square": 16, "nested.name": "here"}
    ]
    assert pd.read_csv(out / "failures.csv")["error"].tolist() == ["value 1 is refused; give another"]
    assert {each.suffix for each in out.glob("figures.*")} == {".csv", ".md", ".tex"}
    assert "failed: s, bad: value 1 is refused" in capsys.readouterr().err
    assert main([*arguments[:-1], "0"]) == 2
    assert "--jobs is 0; give at least 1" in capsys.readouterr().err


@pytest.fixture
def experiment(tmp_path: Path) -> Callable[..., Path]:
    """Write an experiment file with one sequence: experiment(key=value of the file ...)."""

    def write(**changes: object) -> Path:
        tree = {"task": TASK, "sequences": {"s": {"recording": "here"}}} | changes
        path = tmp_path / "mine.yaml"
        path.write_text(json.dumps(tree))
        return path

    return write
