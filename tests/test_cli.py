"""Wrong use and bad input: exit status 2 and one line that states fact, value and remedy."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from evslam.cli import main

CALIB = "199.1 198.8 120.0 90.0 -0.36 0.15 0.0 0.0 0.0\n"


def _recording(folder: Path, events: str, calib: str | None = CALIB) -> Path:
    folder.mkdir()
    (folder / "events.txt").write_text(events)
    if calib is not None:
        (folder / "calib.txt").write_text(calib)
    return folder


def _lines(t: np.ndarray, x: int = 10, y: int = 20) -> str:
    return "".join(f"{time:.6f} {x} {y} 1\n" for time in t)


GOOD = _lines(np.linspace(0.0, 0.05, 200), 239, 179)


def _refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("evslam: ")]
    assert len(lines) == 1
    assert "Traceback" not in captured.err
    return lines[0]


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ("", ["events.txt"]),
        ("0.1 1 2 1\n0.2 1 x 0\n", ["events.txt", "line 2"]),
        ("0.1 1 2 1\nnan 1 2 0\n", ["line 2", "nan"]),
        ("0.1 1 2 1\n0.2 1 2 3\n", ["line 2", "3"]),
        ("-0.5 1 2 1\n0.2 1 2 1\n", ["-", "negative"]),
        ("5.0 1 2 1\n0.2 1 2 1\n", ["line 2"]),
        ("".join(f"{1000000 + 7 * i} 1 2 1\n" for i in range(1500)), ["seconds"]),
    ],
    ids=["empty", "non-numeric", "nan", "polarity", "negative time", "time jumps back", "microseconds"],
)
def test_bad_events(events: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = _recording(tmp_path / "recording", events)
    message = _refused(capsys, "run", str(recording), "--out", str(tmp_path / "run"))
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("calib", "words"),
    [
        (None, ["calib.txt", "--calib"]),
        ("199 198 120\n", ["3", "9"]),
        ("199 198 120 nan 0 0 0 0 0\n", ["nan"]),
        ("199 198 1200 90 0 0 0 0 0\n", ["1200"]),
    ],
    ids=["missing", "count", "nan", "principal point"],
)
def test_bad_calibration(
    calib: str | None, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = _recording(tmp_path / "recording", GOOD, calib)
    message = _refused(capsys, "run", str(recording), "--out", str(tmp_path / "run"))
    for word in words:
        assert word in message


def test_missing_recording_names_the_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert str(tmp_path / "none") in _refused(capsys, "run", str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    assert "events.txt" in _refused(capsys, "info", str(tmp_path / "empty"))


def test_hdf5_without_events_says_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(tmp_path / "events.h5", "w") as file:
        file["data/counts"] = np.arange(5)
    assert "data/counts" in _refused(capsys, "run", str(tmp_path / "events.h5"), "--out", str(tmp_path / "run"))


def test_wrong_sensor_size_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = _recording(tmp_path / "recording", _lines(np.linspace(0, 1, 20_000), 200, 100))
    arguments = ["--set", "sensor.width=128", "--set", "sensor.height=128", "--out", str(tmp_path / "run")]
    calib = tmp_path / "calib.txt"
    calib.write_text("100 100 64 64\n")
    message = _refused(capsys, "run", str(recording), "--calib", str(calib), *arguments)
    assert "200" in message
    assert "128" in message
    assert "sensor.width" in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "batch.num_event=5"], ["batch.num_event", "batch.num_events"]),
        (["--set", "batch.num_events=many"], ["batch.num_events", "many", "int"]),
        (["--set", "nonsense"], ["key=value"]),
        (["--mode", "7dof"], ["7dof", "6dof"]),
        (["--imu"], ["--imu"]),
        (["--start", "99"], ["--start", "99", "its end", "0.050"]),
        (["--duration", "0"], ["--duration 0 s", "0.050"]),
        (["--set", "sensor.width=240"], ["sensor.height"]),
        (["--set", "tracker.kernel=cubist"], ["cubist", "cubic"]),
        (["--config", "nowhere.yaml"], ["nowhere.yaml"]),
    ],
)
def test_bad_options(
    arguments: list[str], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = _recording(tmp_path / "recording", GOOD)
    message = _refused(capsys, "run", str(recording), "--out", str(tmp_path / "run"), *arguments)
    for word in words:
        assert word in message


def test_results_are_never_overwritten_silently(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = _recording(tmp_path / "recording", GOOD)
    arguments = ["run", str(recording), "--mode", "rotation", "--out", str(tmp_path / "run")]
    assert main(arguments) == 3  # too few events to track: finished, but lost
    assert "--overwrite" in _refused(capsys, *arguments)
    assert main([*arguments, "--overwrite"]) == 3
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    _refused(capsys, "run", str(recording), "--overwrite", "--out", str(tmp_path / "mine"))
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_eval_without_groundtruth_says_how_to_give_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = _recording(tmp_path / "recording", _lines(np.linspace(0, 0.5, 20_000)))
    assert main(["run", str(recording), "--mode", "rotation", "--out", str(tmp_path / "run")]) in (0, 3)
    assert "--groundtruth" in _refused(capsys, "eval", str(tmp_path / "run"))


def test_unknown_sequence_names_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "rot_pan" in _refused(capsys, "simulate", "rot_pam", "--out", str(tmp_path / "new"))


def test_info_and_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = _recording(tmp_path / "recording", GOOD.replace(" 1\n", " -1\n") + "0.05")
    assert main(["info", str(recording)]) == 0
    out = capsys.readouterr().out
    assert "200 (0.0 % ON)" in out
    assert "200 polarities -1" in out
    assert "4 bytes at the end" in out
    assert main(["convert", str(recording), str(tmp_path / "copy")]) == 0
    assert main(["info", str(tmp_path / "copy")]) == 0
    assert "none found" in capsys.readouterr().out


def test_error_in_the_middle_keeps_what_was_processed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = _lines(np.linspace(0.0, 0.5, 600_000)) + "0.6 1 2 5\n" + _lines(np.linspace(0.7, 0.8, 1000))
    recording = _recording(tmp_path / "recording", lines)
    size = ["--set", "sensor.width=240", "--set", "sensor.height=180"]
    arguments = [*size, "--mode", "rotation", "--set", "run.chunk_events=10000", "--out", str(tmp_path / "run")]
    assert "line 600001" in _refused(capsys, "run", str(recording), *arguments)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["status"] == "bad_input"
    assert metrics["duration_s"] > 0.1


@pytest.mark.parametrize("value", ["nan", "inf", "soon"])
def test_seconds_are_finite_numbers(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["run", "recording", "--duration", value])
    assert error.value.code == 2
    assert f"--duration: '{value}' is not a finite number" in capsys.readouterr().err
