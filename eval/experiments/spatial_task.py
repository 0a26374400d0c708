"""Task `spatial`: one 6-DoF run, with the figures of `evslam eval` and those that tell a sound run from a lost one.

Settings are configuration keys such as link.offsets, and `start_s` and `duration_s`: the stretch of the recording.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from evslam.config import load_config
from evslam.errors import DataError
from evslam.eval.evaluate import evaluate
from evslam.eval.experiments.jobs import Job
from evslam.eval.rotation import absent
from evslam.eval.spatial import is_right, judge_start, position_error, scale_figures
from evslam.io.recording import open_recording
from evslam.io.trajectory import load_trajectory
from evslam.outputs import ONLINE_FILE
from evslam.provenance import versions
from evslam.runner import run as run_slam
from evslam.session import RunOptions

_OF_RUN = ("status", "events", "cpu_s", "wall_s", "refine_wall_s", "starts", "start_attempts", "waiting_for")
_MIN_COVERAGE = 50.0


def run(job: Job, recording: Path) -> dict[str, Any]:
    """Figures of a run with the job's settings and seed.

    Besides those of `evaluate`: `online` (positions as told while running), `start`, `scale`, `work`, and `failed`: no
    trajectory, less than half of the time covered, or an error above a quarter of null.

    Raises:
        DataError: the recording has no ground truth.
    """
    settings = {"mode": "6dof"} | job.settings
    stretch = {key: settings.pop(key) for key in ("start_s", "duration_s") if key in settings}
    config = load_config(overrides=[*(f"{key}={value}" for key, value in settings.items()), f"seed={job.seed}"])
    truth = open_recording(recording).groundtruth
    if truth is None:
        raise DataError(f"{recording} has no ground truth: add groundtruth.txt")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        metrics = run_slam(RunOptions(recording, folder, progress=False, **stretch), config)
        online = load_trajectory(folder / ONLINE_FILE, minimum=0)
        figures: dict[str, Any] = {"work": _work(metrics), "start": judge_start(online, truth, metrics["start_us"])}
        try:
            figures |= evaluate(folder).figures
        except DataError as error:  # too few poses: a run that failed, which is a result
            return figures | {"position": absent(str(error)), "failed": True}
        final = load_trajectory(folder / "trajectory.txt")
    figures |= {"online": position_error(online, truth), "scale": scale_figures(final, truth)}
    covered = figures["coverage"]["percent"] >= _MIN_COVERAGE
    return figures | {"failed": not (covered and is_right(figures["position"]))}


def _work(metrics: dict[str, Any]) -> dict[str, Any]:
    work = {key: metrics.get(key) for key in _OF_RUN} | {"commit": versions().get("commit", "unknown")}
    cpu_s = max(metrics["cpu_s"], 1e-9)
    return work | {"mev_per_cpu_s": 1e-6 * metrics["events"] / cpu_s, "cpu_s_per_s": cpu_s / metrics["duration_s"]}
