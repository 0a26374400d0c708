"""A task for the tests of the experiment runner: squares, failures, and processes that die."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from evslam.errors import DataError
from evslam.eval.experiments.jobs import Job


def run(job: Job, recording: Path) -> dict[str, Any]:
    what, value = job.settings.get("what", "square"), job.settings.get("value", 0)
    calls = recording / f"calls-{job.file_name}"
    calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
    if what == "refuse":
        raise DataError(f"value {value} is refused; give another")
    if what == "crash":
        raise ZeroDivisionError("by zero")
    if what == "die" or (what == "die once" and calls.read_text() == "x"):
        os._exit(9)
    return {"square": value * value + job.seed, "nested": {"name": recording.name}}
