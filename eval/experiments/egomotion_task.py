"""Task `egomotion`: every packet of a sequence from the estimate before and from random starts, with the way there."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evslam.climb import Level, climb
from evslam.config import build, load_config
from evslam.errors import ConfigError, SolverError
from evslam.eval.egomotion import truth
from evslam.eval.experiments.depth import DepthMaps
from evslam.eval.experiments.jobs import Job
from evslam.eval.experiments.solvers import solver_by_name
from evslam.packet_problem import Method, PacketProblem, Watched
from evslam.session import RunOptions, Session, open_session
from evslam.types import EventBatch

DEPTHS = ("plane", "known")


@dataclass(frozen=True)
class Settings:
    """What a job of this task depends on; an experiment file changes single keys.

    Attributes:
        motion, kernel, gradient, reconstruction, objective, blur, margin, coarse_blur, coarse_margin,
            max_evaluations, step_tolerance_px, prior_speed: see `evslam.packet_problem.Method`.
        scales: coarse to fine from a random start; a warm start uses the last one alone.
        first_scales: before those, for the first packet, which starts at no motion and is not counted.
        optimiser: lbfgsb-plain (scipy's with its own stopping rule) or one of `evslam.optim.OPTIMISERS`.
        depth: plane (unit depth, v in depths/s) or known (depth maps of a simulated recording, v in m/s).
        truth: of the angular velocity: gyro, poses or auto.
        num_events, max_duration_s, min_events: limits of a packet.
        start_s: seconds of the recording to skip.
        max_packets: of a sequence, from its beginning.
        random_starts: per packet.
        start_px: least and largest distance of a random start, RMS event displacement in pixels, from the true
            motion where it is known, else from no motion.
        runaway_px: RMS displacement beyond which a result is no motion but a collapse of all events into a point.
    """

    motion: str = "rotation"
    kernel: str = "linear"
    gradient: str = "functional"
    reconstruction: str = "linear"
    objective: str = "variance"
    optimiser: str = "lbfgsb-plain"
    scales: tuple[float, ...] = (0.5,)
    first_scales: tuple[float, ...] = (0.125, 0.25)
    blur: float = 0.0
    margin: float = 0.3
    coarse_blur: float = 1.0
    coarse_margin: float = 0.3
    max_evaluations: int = 100
    step_tolerance_px: float = 0.02
    prior_speed: float = 1.0
    depth: str = "plane"
    truth: str = "auto"
    num_events: int = 20000
    max_duration_s: float = 0.06
    min_events: int = 3000
    start_s: float = 0.0
    max_packets: int = 1000
    random_starts: int = 2
    start_px: tuple[float, ...] = (2.0, 16.0)
    runaway_px: float = 100.0

    def __post_init__(self) -> None:
        if self.depth not in DEPTHS:
            raise ConfigError(f"depth is {self.depth!r}; choose one of {', '.join(DEPTHS)}")

    @property
    def image(self) -> str:
        """What decides the values of the objective: only jobs that share it share a best contrast."""
        parts = (self.motion, self.kernel, self.objective, self.scales[-1], self.blur, self.margin, self.depth)
        return "/".join(str(each) for each in parts)

    def method(self, scales: tuple[float, ...] | None = None) -> Method:
        """The method that these settings describe, on other images if any are given."""
        names = (
            "motion", "kernel", "gradient", "reconstruction", "objective", "blur", "margin", "coarse_blur",
            "coarse_margin", "max_evaluations", "step_tolerance_px", "prior_speed",
        )  # fmt: skip
        values = {name: getattr(self, name) for name in names}
        return Method(solver=solver_by_name(self.optimiser), scales=scales or self.scales, **values)


def settings_of(job: Job) -> Settings:
    """The job's settings over the defaults; ConfigError for an unknown key or a wrong type."""
    return build(Settings, asdict(Settings()) | job.settings, "settings.")


def run(job: Job, recording: Path) -> dict[str, Any]:
    """Figures of one sequence: for every packet the truth, and for every start the way to its end."""
    torch.set_num_threads(1)
    settings = settings_of(job)
    settings.method()  # refuses unknown names before anything is read
    session, batches = _packets(settings, recording)
    intervals = np.array([[each.start_us, each.stop_us] for each in batches], np.int64).reshape(-1, 2)
    known = truth(session.recording, intervals, settings.truth)
    maps = DepthMaps.of(session.recording) if settings.depth == "known" else None
    _warm_up(settings, session, batches)
    packets, before = [], None
    rng = np.random.default_rng(job.seed)
    for i, batch in enumerate(batches):
        depth = 1.0 if maps is None else maps.inverse_depth(batch)
        twist = np.concatenate([known.linear[i], known.angular[i]])
        packet = _Packet(batch, session, settings, depth)
        runs = [packet.run("first" if before is None else "warm", before)]
        before = np.array(runs[0]["twist"]) if runs[0]["twist"] is not None else before
        runs += [packet.run("random", start) for start in packet.starts(rng, twist)]
        packets.append({
            "t_ref_us": batch.t_ref_us, "num_events": batch.num_events, "duration_us": batch.stop_us - batch.start_us,
            "truth": twist.tolist(), "runs": runs,
        })  # fmt: skip
    sources = {"angular_source": known.angular_source, "linear_source": known.linear_source}
    return {"image": settings.image, "settings": asdict(settings), **sources, "packets": packets}


def _packets(settings: Settings, recording: Path) -> tuple[Session, list[EventBatch]]:
    limits = ("num_events", "max_duration_s", "min_events")
    config = load_config(overrides=[f"batch.{name}={getattr(settings, name)}" for name in limits])
    session = open_session(RunOptions(recording, Path(), start_s=settings.start_s, progress=False), config)
    batches = session.batches(config, session.start_us)
    full = (each for each in batches if each.num_events >= settings.min_events)
    return session, list(itertools.islice(full, settings.max_packets))


def _warm_up(settings: Settings, session: Session, batches: list[EventBatch]) -> None:
    """Compile what is compiled on first use, so that it is not timed."""
    method, start = settings.method(), np.full(6, 0.1)
    for batch in batches[:1]:

        def level(scale: float, coarse: bool, _: np.ndarray, batch: EventBatch = batch) -> Level:
            return PacketProblem(batch, session.camera, method, scale, coarse=coarse).level

        climb((0.25, settings.scales[-1]), level, start[method.free], method.solver, 4)


class _Packet:
    """One packet and what its runs need."""

    def __init__(self, batch: EventBatch, session: Session, settings: Settings, depth: Any) -> None:
        self.batch, self.camera, self.settings, self.depth = batch, session.camera, settings, depth
        self.method = settings.method()
        self.free = self.method.free
        coarse = dict.fromkeys((*settings.first_scales, *settings.scales[:-1]), True)
        self.problems = {
            (scale, blurred): PacketProblem(batch, self.camera, self.method, scale, depth, blurred)
            for scale, blurred in (*coarse.items(), (settings.scales[-1], False))
        }
        # one image for all configurations, to compare their results on
        common = replace(self.method, kernel="linear", gradient="functional", reconstruction="linear", blur=0.0)
        self.common = PacketProblem(batch, self.camera, replace(common, objective="variance"), 1.0, depth)
        self.pixels = self.common.metric

    def starts(self, rng: np.random.Generator, twist: np.ndarray) -> Iterator[np.ndarray]:
        """Random starts (6,): any direction, any distance between the limits."""
        centre = np.nan_to_num(twist) if self._is_metric else np.nan_to_num(twist) * [0, 0, 0, 1, 1, 1]
        for _ in range(self.settings.random_starts):
            direction = rng.standard_normal(self.free.stop - self.free.start)
            length = rng.uniform(self.settings.start_px[0], self.settings.start_px[-1])
            start = np.zeros(6)
            start[self.free] = centre[self.free] + self.pixels.unscale(length * direction / np.linalg.norm(direction))
            yield start

    @property
    def _is_metric(self) -> bool:
        return self.settings.depth == "known"

    def run(self, kind: str, start: np.ndarray | None) -> dict[str, Any]:
        """One maximisation; `way` lists (evaluations, CPU seconds, value) of each improvement at the last scale."""
        start, settings = (np.zeros(6) if start is None else start)[self.free], self.settings
        scales = settings.scales[-1:] if kind == "warm" else settings.scales
        scales = (*settings.first_scales, *scales) if kind == "first" else scales
        watches: list[Watched] = []

        def level(scale: float, coarse: bool, _: np.ndarray) -> Level:
            watches.append(Watched(self.problems[scale, coarse]))
            return watches[-1].level

        try:
            optima, failure = climb(scales, level, start, self.method.solver, settings.max_evaluations), None
        except SolverError as error:
            optima, failure = [], str(error)
        spent, seconds = sum(len(each.values) for each in watches), time.process_time() - watches[0].begin
        totals = {"evaluations": spent, "hessians": sum(each.hessians for each in watches), "seconds": seconds}
        result: dict[str, Any] = {"kind": kind, "twist": None, "way": [], **totals}
        if failure is not None:
            return result | {"error": failure}
        twist = np.zeros(6)
        twist[self.free] = parameters = optima[-1].parameters
        if np.linalg.norm(self.pixels.scale(parameters)) > settings.runaway_px:
            return result | {"error": "the events collapsed into a point"}
        before = spent - len(watches[-1].values), watches[-1].begin - watches[0].begin
        way = _way(watches[-1], *before)
        return result | {"twist": twist.tolist(), "way": way, "common": self.common.value(parameters)}


def _way(watched: Watched, spent: int, seconds: float) -> list[list[float]]:
    """(evaluations, CPU seconds, value) of each improvement."""
    best = np.maximum.accumulate(watched.values)
    better = np.flatnonzero(np.diff(best, prepend=-np.inf) > 0)
    return [[spent + int(k) + 1, seconds + watched.seconds[k], float(best[k])] for k in better]
