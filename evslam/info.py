"""What a recording holds, and what is wrong with it: the text of `evslam info`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evslam.errors import EvslamError
from evslam.io.recording import Recording, open_recording


def describe(path: Path, calib: Path | None = None) -> dict[str, str]:
    """Read a recording once from end to end and tell about it.

    Args:
        path: recording.
        calib: calibration file instead of the recording's own.

    Returns:
        Lines by title; `problems` is always there.

    Raises:
        DataError: the events cannot be read.
    """
    recording = open_recording(path, calib=calib)
    reader = recording.reader
    num_events = num_on = 0
    for events in reader.read():
        num_events += len(events)
        num_on += int(events.p.sum())
    duration = (reader.t_last_us - reader.t_first_us) * 1e-6
    lines = {
        "recording": str(recording.path),
        "format": recording.format,
        "sensor": f"{recording.size.width} x {recording.size.height} ({recording.size_source})",
        "events": f"{num_events} ({100 * num_on / max(num_events, 1):.1f} % ON)",
        "time": f"{reader.t_first_us * 1e-6:.6f} to {reader.t_last_us * 1e-6:.6f} s, {duration:.3f} s",
        "rate": f"{num_events / max(duration, 1e-6) * 1e-6:.3f} million events/s",
    }
    parts, problems = _parts(recording)
    problems += reader.counts.problems()
    return lines | parts | {"problems": "; ".join(problems) or "none found"}


def _parts(recording: Recording) -> tuple[dict[str, str], list[str]]:
    """What lies beside the events, and what of it cannot be used."""
    lines, problems = {}, []
    try:
        camera = recording.camera
        lines["calibration"] = (
            "none: give one with --calib FILE" if camera is None
            else f"{camera.model}, fx {camera.fx:g} fy {camera.fy:g} cx {camera.cx:g} cy {camera.cy:g}"
        )  # fmt: skip
    except EvslamError as error:
        problems.append(str(error))
    try:
        truth = recording.groundtruth
        lines["ground truth"] = "none" if truth is None else f"{len(truth)} poses, {_span(truth.t_us)}"
    except EvslamError as error:
        problems.append(str(error))
    try:
        imu = recording.imu
        lines["imu"] = "none" if imu is None else f"{len(imu.t_us)} samples, {_span(imu.t_us)}"
    except EvslamError as error:
        problems.append(str(error))
    return lines, problems


def _span(t_us: np.ndarray) -> str:
    return f"{t_us[0] * 1e-6:.3f} to {t_us[-1] * 1e-6:.3f} s"
