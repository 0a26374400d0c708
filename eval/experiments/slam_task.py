"""Task `slam`: one run of the whole system and its evaluation.

Settings are configuration keys such as tracker.kernel, and `start_s`: seconds that are skipped at the beginning.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from evslam.config import load_config
from evslam.eval.evaluate import evaluate
from evslam.eval.experiments.jobs import Job
from evslam.runner import run as run_slam
from evslam.session import RunOptions


def run(job: Job, recording: Path) -> dict[str, Any]:
    """Figures of `evslam eval` for a run with the job's settings and seed."""
    settings = dict(job.settings)
    start_s = float(settings.pop("start_s", 0.0))
    config = load_config(overrides=[*(f"{key}={value}" for key, value in settings.items()), f"seed={job.seed}"])
    with tempfile.TemporaryDirectory() as folder:
        run_slam(RunOptions(recording, Path(folder), start_s=start_s, progress=False), config)
        return evaluate(Path(folder)).figures
