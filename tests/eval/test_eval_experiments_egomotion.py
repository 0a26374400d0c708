"""The egomotion task, its tables against figures worked out by hand, and the gradient study."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evslam.errors import ConfigError
from evslam.eval.experiments import egomotion_task, explain, gradients, slam_task
from evslam.eval.experiments.egomotion_report import comparison, report, verdict
from evslam.eval.experiments.egomotion_runs import reach, results
from evslam.eval.experiments.egomotion_task import Settings, settings_of
from evslam.eval.experiments.jobs import Job, Sequence
from evslam.eval.experiments.solvers import solver_by_name
from evslam.eval.experiments.statistics import Interval, draws, interval, ratio, root_mean_square


def job(**settings: Any) -> Job:
    return Job("egomotion", Sequence("tiny", "x"), "/".join(map(str, settings.values())), settings, 0)


@pytest.fixture(scope="module")
def rows(tiny_recording: Path) -> list[dict[str, Any]]:
    """Two estimators on the first packets of the tiny recording."""
    jobs = [
        job(
            gradient=gradient, optimiser=optimiser, max_packets=4, num_events=10000, random_starts=1, max_evaluations=60
        )
        for gradient in ("raw", "functional")
        for optimiser in ("lbfgsb-plain", "newton")
    ]
    return [{"job": asdict(each), "figures": egomotion_task.run(each, tiny_recording)} for each in jobs]


def test_the_task_notes_the_way_of_every_start(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        packets = row["figures"]["packets"]
        assert [[run["kind"] for run in packet["runs"]] for packet in packets][:2] == [
            ["first", "random"],
            ["warm", "random"],
        ]
        runs = [run for packet in packets for run in packet["runs"]]
        found = [run for run in runs if run["twist"] is not None]
        assert len(found) >= len(runs) - 2  # plain L-BFGS-B may leap out of the picture
        assert all(run["error"] for run in runs if run not in found)
        for run in found:
            counts, seconds, values = (list(column) for column in zip(*run["way"], strict=True))
            assert counts == sorted(counts)
            assert seconds == sorted(seconds)
            assert values == sorted(values)
            assert counts[-1] <= run["evaluations"]
            assert 0.5 < run["common"] < 100
    starts = [row["figures"]["packets"][0]["runs"][1]["way"][0][2] for row in rows]
    assert starts == pytest.approx([starts[0]] * 4)  # the same random start for every configuration


def test_the_tables_hold_every_configuration(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    written = report(rows, tmp_path)
    assert all(path.is_file() for path in written)
    accuracy = pd.read_csv(tmp_path / "accuracy_rotation.csv")
    assert len(accuracy) == 4
    error = accuracy["angular RMS [deg/s]"].str.extract(r"^([\d.]+)").astype(float)
    assert (error < 10).all(axis=None)
    convergence = pd.read_csv(tmp_path / "convergence_rotation.csv")
    assert len(convergence) == 12
    claims = pd.read_csv(tmp_path / "claims_rotation.csv")
    assert set(claims["paper"]) == {1.66, -10.3}
    assert len(claims) == 2 * (2 * 3 * 2 + 1)
    assert "bootstrap over packets" in (tmp_path / "convergence_rotation.md").read_text()


def test_the_page_holds_claims_and_settings(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    """Linear bins: per optimiser two efforts and an error; settings sorted by the time from random starts."""
    assert tmp_path / "results.md" in report(rows, tmp_path)
    page = (tmp_path / "results.md").read_text()
    assert f"{len(rows[0]['figures']['packets'])} packets: tiny" in page
    claims, settings = page.split("### The paper's claims")[1].split("### Every setting, fastest first")
    assert claims.count("theirs / ours") == 4
    assert claims.count("RMS, change in %") == 2
    header, _, *lines = ([cell.strip() for cell in line.split("|")] for line in settings.strip().splitlines())
    assert len(lines) == 4
    times = [line[header.index("random: time [ms]")] for line in lines]
    known = [float(each.split()[0]) for each in times if each]
    assert known == sorted(known)
    assert times == [each for each in times if each] + [""] * times.count("")  # what never arrives stands last


def made(configuration: str, gradient: str, ways: list[list[list[float]]], error_deg: float) -> dict[str, Any]:
    """A row whose packets have one warm run each, with the given ways and angular error about x."""
    twist = [0, 0, 0, float(np.radians(error_deg)), 0, 0]
    packets = [
        {"t_ref_us": k, "truth": [0.0] * 6, "runs": [
            {"kind": "warm", "twist": twist, "way": way, "evaluations": 20, "seconds": 0.2, "common": 2.0}
        ]}
        for k, way in enumerate(ways)
    ]  # fmt: skip
    settings = asdict(Settings(gradient=gradient))
    figures = {"image": "i", "settings": settings, "packets": packets, "angular_source": "g", "linear_source": "p"}
    return {"job": asdict(Job("egomotion", Sequence("s", "x"), configuration, {}, 0)), "figures": figures}


def test_effort_and_success_are_what_one_counts_by_hand() -> None:
    slow = made("raw", "raw", [[[1, 0.01, 1.0], [8, 0.08, 3.0]], [[2, 0.02, 1.5]]], 4.0)
    fast = made("functional", "functional", [[[4, 0.04, 2.98]], [[2, 0.03, 2.0]]], 3.0)
    ours = {each.name: each for each in results([slow, fast])}
    effort = ours["raw"].effort["warm", "contrast"]
    np.testing.assert_array_equal(effort.evaluations, [8, 20])  # the second packet never gets there
    np.testing.assert_array_equal(effort.hits, [1, 0])
    np.testing.assert_array_equal(ours["functional"].effort["warm", "contrast"].evaluations, [4, 2])
    np.testing.assert_allclose(ours["functional"].angular_deg, 3.0)
    np.testing.assert_allclose(ours["functional"].angular_centred_deg, 0.0, atol=1e-12)
    table = comparison(list(ours.values()), draws(2), "rotation")
    line = table[table["figure"].str.startswith("warm start, 99 % of the contrast: evaluations")].iloc[0]
    assert line["measured"].startswith("9.33 ")  # (8 + 20) / 1 against (4 + 2) / 2
    assert (line["functional"], line["against"]) == ("functional", "raw")


def test_reaching_a_goal() -> None:
    run = {"way": [[1, 0.1, 1.0], [3, 0.3, 1.985], [5, 0.5, 2.0]], "evaluations": 9, "seconds": 0.9}
    assert reach(run, "contrast", 2.0) == (3, 0.3)
    assert reach(run, "gain", 2.0) == (5, 0.5)
    assert reach(run, "stop", 2.0) == (9, 0.9)
    assert reach(run, "contrast", 3.0) is None
    assert reach(run | {"way": []}, "stop", 2.0) is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(1.5, 1.8, "agrees"), (0.9, 1.8, "open"), (0.9, 1.1, "no effect"), (1.1, 1.4, "smaller"), (1.8, 2, "larger"),
     (0.5, 0.8, "opposite"), (np.nan, np.nan, "one of them never arrives")],
)  # fmt: skip
def test_verdicts(low: float, high: float, expected: str) -> None:
    assert verdict(Interval((low + high) / 2, low, high), 1.66, 1.0) == expected


def test_the_bootstrap_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        errors = rng.standard_normal(60)
        found = interval(root_mean_square(draws(60), errors)[:400])
        covered += found.low <= 1 <= found.high
    assert 0.88 <= covered / 200 <= 0.98
    assert interval(ratio(draws(3), np.ones(3), np.zeros(3))).text() == "never"
    assert interval(root_mean_square(draws(2), np.full(2, np.nan))).text() == ""


def test_wrong_settings_are_told(tiny_recording: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key settings\.kernal; did you mean settings\.kernel"):
        settings_of(job(kernal="rect"))
    with pytest.raises(ConfigError, match="depth is 'deep'; choose one of plane, known"):
        settings_of(job(depth="deep"))
    with pytest.raises(ConfigError, match=r"optimiser 'nothing' does not exist; .*lbfgsb-plain, bfgs"):
        solver_by_name("nothing")
    with pytest.raises(ConfigError, match="'nothing' does not exist"):
        egomotion_task.run(job(kernel="nothing"), tiny_recording)


def test_a_known_depth_is_used(tiny_recording: Path) -> None:
    settings = {"motion": "6dof", "depth": "known", "max_packets": 2, "random_starts": 0, "optimiser": "bfgs"}
    figures = egomotion_task.run(job(**settings, num_events=10000), tiny_recording)
    assert figures["image"] == "6dof/linear/variance/0.5/0.0/0.3/known"
    first = figures["packets"][0]
    assert np.linalg.norm(np.subtract(first["runs"][0]["twist"], first["truth"])[3:]) < 0.3


def test_a_run_of_the_whole_system_is_a_job_too(tiny_recording: Path) -> None:
    settings = {"mode": "rotation", "batch.num_events": 20000}
    figures = slam_task.run(Job("slam", Sequence("tiny", "x"), "default", settings, 0), tiny_recording)
    assert figures["rotation"]["absolute_start"]["rmse"] < 2
    assert figures["mode"] == "rotation"


def test_gradient_quality_of_known_vectors() -> None:
    difference = np.array([1.0, -2.0, 3.0])
    assert gradients.quality(1.5 * difference, difference) == pytest.approx((1.5, 1.0, 0.5))
    slope, correlation, error = gradients.quality(np.zeros(3), difference)
    assert (slope, error) == (0, 1)
    assert np.isnan(correlation)


def test_the_gradient_study_orders_the_estimators(tiny_recording: Path, tmp_path: Path) -> None:
    arguments = ["--events", "10000", "--packets", "1", "--samples", "4", "--out", str(tmp_path)]
    assert gradients.main([str(tiny_recording), *arguments]) == 0
    table = pd.read_csv(tmp_path / "gradients.csv").set_index("kernel/gradient/reconstruction")
    near = table["near: slope, corr., error"].dropna().str.split(", ", expand=True).astype(float)
    assert near.loc["rect/raw/linear", 0] == 0
    assert abs(near.loc["linear/functional/linear", 0] - 1) < abs(near.loc["linear/raw/linear", 0] - 1)
    assert near.loc["linear/functional/linear", 2] < near.loc["linear/raw/linear", 2]
    assert table.loc["linear/raw/linear", "near, earlier"] == "1.30, 0.964, 0.47"
    assert (tmp_path / "figures" / "landscape.png").is_file()
    assert gradients.main([str(tiny_recording), "--events", "90000000"]) == 2


def test_the_figure_of_the_documentation(tmp_path: Path) -> None:
    assert explain.main(["--out", str(tmp_path)]) == 0
    assert (tmp_path / "functional_backpropagation.png").stat().st_size > 10_000
    values, slopes = explain.toy("functional", np.linspace(-2, 2, 81))
    trend = np.gradient(np.convolve(values, np.ones(11) / 11, "same"), 0.05)[8:-8]
    assert np.corrcoef(trend, slopes[8:-8])[0, 1] > 0.9
