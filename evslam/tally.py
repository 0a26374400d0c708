"""Running totals of a run, and the metrics made of them."""

from __future__ import annotations

import re
import resource
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evslam.session import RunOptions, Session
from evslam.types import EventBatch, TrackingState, TrackResult

SLOW_S = 0.05  # latency above which a batch is counted


@dataclass
class Tally:
    """Running totals of a run; all that is kept besides the SLAM state, so memory does not grow with time."""

    batches: int = 0
    events: int = 0
    evaluations: int = 0
    posed_us: int = 0
    lost_us: int = 0
    starting_us: int = 0
    losses: int = 0
    relocalisations: int = 0
    wall_s: float = 0.0
    refine_wall_s: float = 0.0
    process_s: float = 0.0
    slowest_s: float = 0.0
    slow_batches: int = 0
    cpu_s: float = 0.0
    states: dict[str, int] = field(default_factory=dict)
    last_state: str = TrackingState.STARTING.value

    def add(self, batch: EventBatch, result: TrackResult) -> None:
        """Count one batch."""
        state, before = result.state, self.last_state
        self.batches += 1
        self.events += result.num_events
        self.evaluations += result.evaluations
        duration = batch.stop_us - batch.start_us
        self.posed_us += duration * (state in (TrackingState.TRACKING, TrackingState.SPARSE))
        self.lost_us += duration * (state is TrackingState.LOST)
        self.starting_us += duration * (state is TrackingState.STARTING)
        self.losses += state is TrackingState.LOST and before != TrackingState.LOST.value
        self.relocalisations += state is TrackingState.TRACKING and before == TrackingState.LOST.value
        self.states[state.value] = self.states.get(state.value, 0) + 1
        self.last_state = state.value

    def add_latency(self, seconds: float) -> None:
        """Count the time from a complete batch to its pose."""
        self.process_s += seconds
        self.slowest_s = max(self.slowest_s, seconds)
        self.slow_batches += seconds > SLOW_S


def run_metrics(options: RunOptions, session: Session, mode: str, tally: Tally) -> dict[str, Any]:
    """The figures of metrics.json that need no ground truth."""
    processed_us = tally.lost_us + tally.posed_us + tally.starting_us
    beside = session.recording.beside
    duration = processed_us * 1e-6
    return {
        "mode": mode,
        "recording": str(options.recording.resolve()),
        "dataset": beside.dataset,
        "calibration": session.recording.camera_source,
        "groundtruth": None if beside.groundtruth is None else str(beside.groundtruth.resolve()),
        "groundtruth_reading": asdict(beside.pose_options),
        "sensor": {**asdict(session.recording.size), "source": session.recording.size_source},
        "start_us": session.start_us,
        "stop_us": session.stop_us,
        "processed_until_us": session.start_us + processed_us,
        "duration_s": duration,
        "events": tally.events,
        "wall_s": tally.wall_s,
        "cpu_s": tally.cpu_s,
        "refine_wall_s": tally.refine_wall_s,
        "latency": {
            "mean_ms": 1000 * tally.process_s / max(tally.batches, 1),
            "slowest_ms": 1000 * tally.slowest_s,
            "batches_over_50_ms": tally.slow_batches,
        },
        "real_time_factor": duration / max(tally.wall_s, 1e-9),
        "events_per_second": tally.events / max(tally.wall_s, 1e-9),
        "peak_memory_mb": peak_memory_mb(),
        "batches": tally.batches,
        "evaluations": tally.evaluations,
        "states": tally.states,
        "coverage_percent": 100 * tally.posed_us / max(session.stop_us - session.start_us, 1),
        "lost_percent": 100 * tally.lost_us / max(processed_us, 1),
        "losses": tally.losses,
        "relocalisations": tally.relocalisations,
        "loops": 0,
        "read": asdict(session.recording.reader.counts),
    }


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MiB.

    Linux tells it per program; `getrusage` there would count the parent's memory at the fork too.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        peak_kb = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if peak_kb:
            return int(peak_kb[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
