"""Peak memory and speed of `evslam run` against the length of a recording.

    python -m evslam.eval.bench.memory --out runs/memory --minutes 1 10

A few simulated seconds are played forth and back (time reversed, polarity flipped, which is what a camera moving back
would see) to the length asked for; each length runs in a process of its own. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from evslam.demo import write_simulation
from evslam.io.recording import open_recording, write_recording
from evslam.io.results import read_metrics
from evslam.provenance import versions
from evslam.types import Events


def forth_and_back(events: Events, duration_us: int, total_us: int) -> Iterator[Events]:
    """Repeat a recording of `duration_us` that starts near zero, every other time backwards, up to `total_us`."""
    back = Events((duration_us - events.t)[::-1], events.x[::-1], events.y[::-1], ~events.p[::-1])
    for index in range(-(-total_us // duration_us)):
        part = events if index % 2 == 0 else back
        shifted = part.t + index * duration_us
        count = int(np.searchsorted(shifted, total_us))
        yield Events(shifted[:count], part.x[:count], part.y[:count], part.p[:count])


def measure(source: Path, minutes: float, out: Path) -> dict[str, float]:
    """Lengthen the recording `source` to `minutes`, run it in a fresh process and read its metrics."""
    recording = open_recording(source)
    folder, run_dir = out / f"recording_{minutes:g}min", out / f"run_{minutes:g}min"
    if not (folder / "meta.yaml").is_file():
        events = Events.concatenate(list(recording.reader.read()))
        duration_us = int(events.t[-1]) + 1
        write_recording(
            folder, forth_and_back(events, duration_us, round(minutes * 60e6)), camera=recording.require_camera()
        )
    command = [sys.executable, "-m", "evslam.cli", "run", str(folder), "--mode", "rotation", "--overwrite"]
    subprocess.run([*command, "--out", str(run_dir)], check=True)
    metrics = read_metrics(run_dir / "metrics.json")
    keys = ("events", "duration_s", "peak_memory_mb", "real_time_factor", "events_per_second", "coverage_percent")
    return {key: metrics[key] for key in keys}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequence", default="demo")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 10.0])
    parser.add_argument("--out", type=Path, default=Path("runs/memory"))
    arguments = parser.parse_args()
    source = arguments.out / "source"
    if not (source / "meta.yaml").is_file():
        write_simulation(arguments.sequence, source, seed=0)
    figures = {f"{minutes:g} min": measure(source, minutes, arguments.out) for minutes in arguments.minutes}
    print(json.dumps({"sequence": arguments.sequence, "lengths": figures, "versions": versions()}, indent=2))


if __name__ == "__main__":
    main()
