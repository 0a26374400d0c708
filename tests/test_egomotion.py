"""Egomotion of packets whose motion is known, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from evslam.cli import main
from evslam.climb import climb
from evslam.config import load_config
from evslam.egomotion import CSV_COLUMNS, estimate_packet
from evslam.errors import ConfigError, SolverError
from evslam.geometry.camera import Camera
from evslam.geometry.lie import SE3
from evslam.packet_problem import Method, PacketProblem, Watched, optimiser_by_name
from evslam.types import EventBatch, SensorSize

CAMERA = Camera(200.0, 200.0, 119.5, 89.5, SensorSize(180, 240))
TWISTS = {
    "rotation": np.array([0, 0, 0, 0.9, -1.2, 0.7]),
    "translation": np.array([0.8, -0.5, 0.3, 0, 0, 0]),
    "6dof": np.array([0.5, -0.4, 0.2, 0.6, -0.5, 0.8]),
}


def packet(twist: np.ndarray, num_events: int = 6000, depth: float = 1.0, seed: int = 0) -> EventBatch:
    """Events of 150 points in a plane at a depth, under a constant twist in metres: X(t) = exp(-t twist) X(t_ref)."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(150, 2, generator=generator, dtype=torch.float64) - 0.5
    points = depth * torch.cat([points * torch.tensor([1.1, 0.8]), torch.ones(150, 1)], 1)
    t = 0.1 * torch.rand(num_events, generator=generator, dtype=torch.float64) - 0.05
    which = torch.randint(150, (num_events,), generator=generator)
    seen = SE3.exp(-t[:, None] * torch.from_numpy(twist)) * points[which]
    bearing = (seen[:, :2] / seen[:, 2:]).float()
    return EventBatch(50_000, 0, 100_000, t.float(), bearing, t > 0)


@pytest.mark.parametrize("motion", list(TWISTS))
def test_the_twist_of_a_packet_is_found_from_zero(motion: str) -> None:
    twist = TWISTS[motion]
    method = Method(motion, prior_speed=np.inf)
    found = estimate_packet(packet(twist), CAMERA, method, None)
    tolerance = {"rotation": 0.01, "translation": 0.01, "6dof": 0.08}[motion]  # v and omega look alike
    np.testing.assert_allclose(found.twist, twist, atol=tolerance)
    assert found.contrast > 2
    assert found.evaluations < 50
    warm = estimate_packet(packet(twist), CAMERA, method, found.twist)
    assert warm.evaluations < found.evaluations / 2


def test_known_depth_makes_the_velocity_metric() -> None:
    twist = TWISTS["translation"]
    method = Method("translation")
    problem = PacketProblem(packet(twist, depth=2.5), CAMERA, method, 0.5, torch.full((6000,), 1 / 2.5))
    (found,) = climb([0.5], lambda *_: problem.level, 0.8 * twist[:3], method.solver, 40)
    np.testing.assert_allclose(found.parameters, twist[:3], atol=0.03)


def test_the_prior_costs_what_it_says() -> None:
    twist = TWISTS["translation"]
    free, bound = (
        PacketProblem(packet(twist), CAMERA, Method("translation", prior_speed=speed), 0.5) for speed in (np.inf, 2.0)
    )
    v = twist[:3]
    assert free.value(v) - bound.value(v) == pytest.approx(0.01 * 0.98 / 4, rel=1e-6)
    assert free.value(np.zeros(3)) == pytest.approx(1)


def test_too_few_events_have_no_estimate() -> None:
    found = estimate_packet(packet(TWISTS["rotation"], 50), CAMERA, Method("rotation"), None, min_events=100)
    assert np.isnan(found.twist).all()
    assert found.num_events == 50


def test_nothing_on_the_canvas_has_no_estimate() -> None:
    batch = packet(TWISTS["rotation"], 200)
    away = replace(batch, bearing=batch.bearing + 100)
    found = estimate_packet(away, CAMERA, Method("rotation"), np.array([0, 0, 0, 0, 0, 1.0]))
    assert np.isnan(found.twist).all()
    with pytest.raises(SolverError, match=r"no event of the packet at 0\.050000 s lies on the canvas"):
        PacketProblem(away, CAMERA, Method("rotation"), 0.5)


@pytest.mark.parametrize("optimiser", ["bfgs", "newton"])
def test_every_evaluation_is_noted_once(optimiser: str) -> None:
    method = Method("rotation", optimiser_by_name(optimiser))
    watched = Watched(PacketProblem(packet(TWISTS["rotation"], 2000), CAMERA, method, 0.5))
    (found,) = climb([0.5], lambda *_: watched.level, TWISTS["rotation"][3:] + 0.1, method.solver, 40)
    assert max(watched.values) == pytest.approx(watched.problem.value(found.parameters), rel=1e-9)
    assert len(watched.values) == found.evaluations
    assert watched.seconds == sorted(watched.seconds)
    assert len(watched.seconds) == len(watched.values) < 20
    assert (watched.hessians > 0) == (optimiser == "newton")
    assert watched.seconds[0] > 0


@pytest.mark.parametrize("reconstruction", ["cubic", "lanczos"])
def test_another_reconstruction_changes_the_gradient_alone(reconstruction: str) -> None:
    batch, at = packet(TWISTS["rotation"], 2000), TWISTS["rotation"][3:] + 0.2
    plain, other = (
        PacketProblem(batch, CAMERA, Method("rotation", kernel="linear", reconstruction=name), 0.5)
        for name in ("linear", reconstruction)
    )
    (value, slope), (same, another) = plain.gradient(at), other.gradient(at)
    assert same == pytest.approx(value, rel=1e-5)
    cosine = slope @ another / np.linalg.norm(slope) / np.linalg.norm(another)
    assert 0.9 < cosine < 1 - 1e-5


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="optimiser 'nothing' does not exist; choose one of bfgs, newton"):
        optimiser_by_name("nothing")
    with pytest.raises(ConfigError, match="motion 'zoom' does not exist"):
        Method.from_config(load_config(), "zoom", "bfgs")


def test_the_command_compares_with_the_gyro(tiny_recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["egomotion", str(tiny_recording), "--motion", "rotation", "--out", str(out)]
    arguments += ["--set", "batch.num_events=20000", "--gradient", "functional"]
    assert main(arguments) == 0
    summary = json.loads((out / "summary.json").read_text())
    angular = summary["angular"]
    assert angular["source"].startswith("gyro")
    assert angular["rms_deg_s"] < 0.15 * angular["null_deg_s"]
    assert angular["rms_median_removed_deg_s"] <= angular["rms_deg_s"]
    table = pd.read_csv(out / "egomotion.csv")
    assert list(table.columns) == CSV_COLUMNS.split(",")
    assert len(table) == summary["packets"]
    assert (table["start_us"].to_numpy()[1:] == table["stop_us"].to_numpy()[:-1]).all()
    assert (out / "plots" / "velocity.png").is_file()
    assert (out / "plots" / "velocity.pdf").is_file()
    assert main(arguments) == 2  # results are there
    assert main([*arguments, "--overwrite", "--duration", "0.1"]) == 0


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--optimiser", "nothing"], "optimiser 'nothing' does not exist"),
        (["--kernel", "nothing"], "'nothing' does not exist"),
        (["--start", "9"], "nothing between --start"),
    ],
)
def test_wrong_use_is_one_line(
    tiny_recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], message: str
) -> None:
    assert main(["egomotion", str(tiny_recording), "--motion", "rotation", "--out", str(tmp_path / "o"), *extra]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
