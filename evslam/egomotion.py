"""Egomotion: the twist of every packet of events by contrast maximisation, without a map.

`estimate` maximises the contrast of each packet (`evslam.packet_problem`) from the estimate before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from evslam.climb import Level, climb
from evslam.config import Config, dump_config
from evslam.errors import SolverError
from evslam.geometry.camera import Camera
from evslam.io.results import prepare_run_dir
from evslam.packet_problem import Method, PacketProblem
from evslam.progress import progress_bar
from evslam.provenance import versions
from evslam.session import RunOptions, Session
from evslam.types import EventBatch

CSV_COLUMNS = "t_ref_us,start_us,stop_us,vx,vy,vz,wx,wy,wz,contrast,evaluations,wall_s,num_events"
CSV_FILE = "egomotion.csv"


@dataclass(frozen=True)
class PacketMotion:
    """Motion of one packet.

    Attributes:
        t_ref_us, start_us, stop_us: its middle and its interval.
        twist: (6,) (v, omega) in the camera frame, zero where not free; NaN when there is no estimate.
        contrast: objective over that of no motion.
        evaluations, wall_s: effort.
        num_events: events used.
    """

    t_ref_us: int
    start_us: int
    stop_us: int
    twist: np.ndarray
    contrast: float
    evaluations: int
    wall_s: float
    num_events: int


def estimate(session: Session, config: Config, method: Method) -> Iterator[PacketMotion]:
    """Motion of every packet of a recording, in a stream.

    The first packet, and one after a packet without estimate, starts at zero, coarse to fine; every other one at the
    estimate before. A packet with fewer events than `batch.min_events`, or none on the canvas, has no estimate.
    """
    torch.set_num_threads(config.run.threads)
    before: np.ndarray | None = None
    for batch in session.batches(config, session.start_us):
        motion = estimate_packet(batch, session.camera, method, before, config.batch.min_events)
        before = motion.twist if np.isfinite(motion.twist).all() else None
        yield motion


def estimate_packet(
    batch: EventBatch, camera: Camera, method: Method, before: np.ndarray | None, min_events: int = 1
) -> PacketMotion:
    """Motion of one packet from the twist before, or from zero, coarse to fine, when that is None."""
    wall = time.perf_counter()
    unknown = np.full(6, np.nan)
    none = PacketMotion(batch.t_ref_us, batch.start_us, batch.stop_us, unknown, np.nan, 0, 0.0, batch.num_events)
    if batch.num_events < min_events:
        return none

    def level(scale: float, coarse: bool, _: np.ndarray) -> Level:
        return PacketProblem(batch, camera, method, scale, coarse=coarse).level

    scales = method.scales if before is None else method.scales[-1:]
    start = np.zeros(6) if before is None else before
    try:
        optima = climb(scales, level, start[method.free], method.solver, method.max_evaluations)
    except SolverError:
        return replace(none, wall_s=time.perf_counter() - wall)
    twist, spent = np.zeros(6), sum(each.evaluations for each in optima)
    twist[method.free] = optima[-1].parameters
    contrast, wall_s = optima[-1].value, time.perf_counter() - wall
    return replace(none, twist=twist, contrast=contrast, evaluations=spent, wall_s=wall_s)


def run(session: Session, options: RunOptions, config: Config, method: Method) -> list[PacketMotion]:
    """Motion of every packet, with progress; writes egomotion.csv, config.yaml and versions.txt to `options.out`.

    Raises:
        ConfigError: the folder holds other results. DataError: the recording breaks off.
    """
    out = prepare_run_dir(options.out, overwrite=options.overwrite)
    (out / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    (out / "versions.txt").write_text("".join(f"{k}: {v}\n" for k, v in versions().items()), encoding="utf-8")
    motions, total_s = [], (session.stop_us - session.start_us) * 1e-6
    with progress_bar(f"egomotion, {method.motion}", total_s, show=options.progress) as bar:
        for motion in estimate(session, config, method):
            motions.append(motion)
            bar.update((motion.stop_us - motion.start_us) * 1e-6)
    write_motions(motions, out / CSV_FILE)
    return motions


def write_motions(motions: list[PacketMotion], path: Path) -> None:
    """Write egomotion.csv: v in scene depths per second, omega in rad/s, empty fields where there is no estimate."""
    with path.open("w", encoding="ascii") as file:
        file.write(CSV_COLUMNS + "\n")
        for each in motions:
            numbers = ["" if not np.isfinite(x) else f"{x:.9g}" for x in (*each.twist.tolist(), each.contrast)]
            times = f"{each.t_ref_us},{each.start_us},{each.stop_us}"
            effort = f"{each.evaluations},{each.wall_s:.6f},{each.num_events}"
            file.write(f"{times},{','.join(numbers)},{effort}\n")
