"""Does a camera that is put down somewhere find itself in the map of a place, and in no other map?

    python -m evslam.eval.bench.relocalisation_6dof RECORDING... --trials 20

The first part of every recording is mapped. At random moments of the rest a camera wakes up that knows nothing but the
map, and is watched for a second. It sees known space if, by ground truth, it stands near a mapped keyframe and looks
the same way. A return is false if its pose is off by more than 5 % of the depth or 3 degrees from each of the keyframes
on which it rests. From the nearest keyframe on, what the map itself is off counts, too: such returns are `drifted`. In
the maps of all other recordings, which have to show other places, every return is false. Printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from evslam.config import Config, load_config
from evslam.eval.bench.map_truth import MapTruth
from evslam.geometry.canvas import Canvas
from evslam.mapping.edge_image import EdgeImager
from evslam.multiview.sparse_map import SparseMap
from evslam.provenance import versions
from evslam.relocaliser import Relocaliser, Return
from evslam.session import RunOptions, Session, open_session
from evslam.slam import SpatialSlam
from evslam.tracking.front_end import FrontEnd
from evslam.types import Trajectory

WATCHED_S, MARGIN_S, SOON_S = 1.0, 0.5, 0.5
FALSE_DEG, FALSE_DEPTHS = 3.0, 0.05
TimedReturn = tuple[int, Return]
CONFIG = load_config(overrides=["mode=6dof"])


@dataclass(frozen=True)
class Mapped:
    """A recording and the map of its first part."""

    name: str
    session: Session
    truth: Trajectory
    map: SparseMap
    until_us: int


def mapped(path: Path, share: float, config: Config) -> Mapped | None:
    """Track and map the first part of a recording; the largest of the maps counts. None where none was begun."""
    session = open_session(RunOptions(path, Path()), config)
    if session.recording.groundtruth is None:
        raise SystemExit(f"{path}: no ground truth")
    until_us = round(session.start_us + share * (session.stop_us - session.start_us))
    slam, first = SpatialSlam(session.camera, config), replace(session, stop_us=until_us)
    for batch in first.batches(replace(config, batch=config.frame.batching), first.start_us, lambda: slam.pace):
        slam.process(batch)
    segments = slam.odometry.all_segments()
    if not segments:
        return None
    largest = max(segments, key=lambda segment: len(segment.map.keyframes)).map
    name = path.parent.name if path.name == "recording" else path.name
    return Mapped(name, session, session.recording.groundtruth, largest, until_us)


class Clock:
    """A worker that works at once and notes the processor time."""

    def __init__(self) -> None:
        self.ms: list[float] = []

    def __call__(self, work: Callable[..., None], *arguments: Any) -> Callable[[], None]:
        begin = time.process_time()
        work(*arguments)
        self.ms.append(1000 * (time.process_time() - begin))
        return lambda: None


def trial(one: Mapped, begin_us: int, seekers: list[Relocaliser], config: Config) -> list[TimedReturn | None]:
    """Wake up at a moment: each seeker's first return and its time, None without one."""
    session = replace(one.session, stop_us=begin_us + round(WATCHED_S * 1e6))
    canvas = Canvas.of(session.camera, config.frame.canvas_width, config.frame.canvas_margin)
    front_end, returns = FrontEnd(session.camera, canvas, config), list[TimedReturn | None]([None] * len(seekers))
    front_end.points.next_id = 1 + max(int(k.ids.max(initial=-1)) for s in seekers for m in s.maps for k in m.keyframes)
    for seeker in seekers:
        seeker.seek(seeker.maps)
    for batch in session.batches(replace(config, batch=config.frame.batching), begin_us, lambda: front_end.pace):
        frame = front_end.take(batch)
        for number, seeker in enumerate(seekers):
            if returns[number] is None and not frame.is_resting:
                found = seeker.add(frame, in_need=True)
                returns[number] = None if found is None else (frame.t_us, found)
    return returns


def judged(truth: MapTruth, t_us: int, found: Return, neighbours: int) -> dict[str, Any]:
    """Whether a return is right, judged from the keyframe that shows the same and its neighbours."""
    k, pose = found.keyframe, found.pose.T_cam_world
    rests_on = [n for n in range(k - neighbours, k + neighbours + 1) if truth.map.are_neighbours(k, n)]
    own = min((truth.error(t_us, pose, n) for n in rests_on), key=excess)
    nearest = truth.error(t_us, pose, truth.nearest(t_us)[0])
    row = {"is_false": excess(own) > 1, "is_drifted": excess(nearest) > 1}
    return {"error_depths": own[0], "error_deg": own[1]} | row


def excess(error: tuple[float, float]) -> float:
    """An error over what is allowed."""
    return max(error[0] / FALSE_DEPTHS, error[1] / FALSE_DEG)


def hurried(config: Config) -> Config:
    """Looks as often in many maps as in one."""
    shortest = config.search.interval_s[0]
    return replace(config, search=replace(config.search, interval_s=(shortest,) * 3))


def trials(
    all_of_them: list[Mapped], number: int, seed: int, config: Config
) -> tuple[list[dict[str, Any]], list[float]]:
    """One row per moment, and the processor time of each search in the own map."""
    rows, clock, rng = [], Clock(), np.random.default_rng(seed)
    for one in all_of_them:
        canvas = Canvas.of(one.session.camera, config.frame.canvas_width, config.frame.canvas_margin)
        imager, truth = EdgeImager(canvas, config.edges), MapTruth(one.map, one.truth)
        own, others = Relocaliser(config, imager, clock), Relocaliser(hurried(config), imager, Clock())
        own.maps, others.maps = [one.map], [other.map for other in all_of_them if other is not one]
        first, last = one.until_us + round(MARGIN_S * 1e6), one.session.stop_us - round(WATCHED_S * 1e6)
        for begin_us in tqdm(np.sort(rng.integers(first, last, number)).tolist(), desc=one.name, unit="trial"):
            before = others.num_attempts
            found, elsewhere = trial(one, begin_us, [own, others], config)
            row = {"recording": one.name, "begin_us": begin_us, "known": truth.nearest(begin_us)[1]}
            row |= {"wait_s": None, "false_elsewhere": elsewhere is not None, "searches": others.num_attempts - before}
            if found is not None:
                row |= {"wait_s": (found[0] - begin_us) * 1e-6} | judged(truth, *found, config.search.neighbours)
            rows.append(row)
    return rows, clock.ms


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of some trials."""
    known, found = [row for row in rows if row["known"]], [row for row in rows if row["wait_s"] is not None]
    false = [row for row in found if row["is_false"]]
    soon = [row for row in known if row["wait_s"] is not None and row["wait_s"] <= SOON_S and row not in false]
    right = [row for row in found if row not in false]
    return {
        "trials": len(rows),
        "in_known_space": len(known),
        "right_within_half_a_second": len(soon) / max(len(known), 1),
        "right_within_a_second": len([row for row in right if row["known"]]) / max(len(known), 1),
        "right_though_not_known": len([row for row in right if not row["known"]]),
        "median_wait_s": float(np.median([row["wait_s"] for row in right])) if right else None,
        "median_error_percent_of_depth": 100 * float(np.median([r["error_depths"] for r in found])) if found else None,
        "median_error_deg": float(np.median([row["error_deg"] for row in found])) if found else None,
        "false": len(false),
        "drifted": sum(row["is_drifted"] for row in found),
        "false_errors": [[round(row["error_depths"], 3), round(row["error_deg"], 2)] for row in false],
        "searches_elsewhere": sum(row["searches"] for row in rows),
        "false_elsewhere": sum(row["false_elsewhere"] for row in rows),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--trials", type=int, default=20, help="per recording")
    parser.add_argument("--share", type=float, default=0.5, help="of each recording that is mapped")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    made = {path: mapped(path, arguments.share, CONFIG) for path in tqdm(arguments.recordings, desc="maps")}
    all_of_them = [one for one in made.values() if one is not None]
    with threadpool_limits(limits=CONFIG.run.threads):  # as in a run: idle threads would count
        rows, ms = trials(all_of_them, arguments.trials, arguments.seed, CONFIG)
    figures = {one.name: summary([row for row in rows if row["recording"] == one.name]) for one in all_of_them}
    maps = {one.name: len(one.map.keyframes) for one in all_of_them}
    print(json.dumps({
        "all": summary(rows), "recordings": figures, "keyframes": maps,
        "without_a_map": [str(path) for path, one in made.items() if one is None],
        "cpu_ms_per_search": {"median": float(np.median(ms)), "p95": float(np.quantile(ms, 0.95)), "first": max(ms)},
        "commit": versions().get("commit"),
    }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()
