"""Are two places ever taken for one? All keyframes of finished maps against each other, as a search for loops does it.

    python -m evslam.eval.bench.false_loops RECORDING... --out runs/false_loops

Every recording needs ground truth, and has to show another scene, but for those named by --same. Each is mapped to the
end, unless OUT holds its run already. Then every keyframe is looked for in every map before it, and among the older
keyframes of its own: those that look most alike are compared (`places.candidates`), the others have been decided by
that. Counted are the pairs that pass each stage: alike, a pose of one view by the points of the other, one similarity
in both directions; and loops that a neighbouring keyframe confirms. Within a map a match is wrong if it is off by more
than a tenth of the depth or 5 degrees. Recall and precision over true revisits come from the maps that see places
again. Printed as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from evslam.backend.look_index import LookIndex
from evslam.backend.loop_closure import find_loops
from evslam.backend.loop_match import LoopMatch, match_views, see_points
from evslam.backend.places import View, view_of
from evslam.beside import two_at_a_time
from evslam.config import Config, load_config
from evslam.eval.bench.map_truth import MapTruth
from evslam.geometry.canvas import Canvas, inside
from evslam.geometry.rigid import NEAR, seen_from
from evslam.map_file import MAP_FILE, load_map
from evslam.multiview.keyframe import Keyframe
from evslam.provenance import versions
from evslam.runner import run
from evslam.session import RunOptions, open_session
from evslam.settings_places import LoopConfig

FALSE_DEPTHS, FALSE_DEG = 0.1, 5.0
LEAST_OVERLAP = 0.02  # of the points of a view
LEAST_POINTS = (20, 40, 60, 80, 100, 150, 200)  # for the curve of precision and recall
REVISIT_S = 1.0
CONFIG = load_config(overrides=["mode=6dof"])


@dataclass(frozen=True)
class Finished:
    """A finished map: what its keyframes show, and which look alike."""

    name: str
    truth: MapTruth
    canvas: Canvas
    views: list[View]
    looks: LookIndex

    def alike(self, keyframe: Keyframe, config: Config, older_than: int | None = None) -> list[int]:
        """Keyframes that are compared with one of this map or another, the most alike first."""
        return self.looks.nearest(keyframe.look, config.places.candidates, older_than)


def finished(recording: Path, out: Path, config: Config) -> Finished:
    """The map of a recording, from its run or from a new one."""
    name = recording.parent.name if recording.name == "recording" else recording.name
    if not (out / name / MAP_FILE).is_file():
        run(RunOptions(recording, out / name, overwrite=True, progress=False), config)
    session = open_session(RunOptions(recording, Path()), config)
    if session.recording.groundtruth is None:
        raise SystemExit(f"{recording}: no ground truth")
    canvas = Canvas.of(session.camera, config.frame.canvas_width, config.frame.canvas_margin)
    map_ = load_map(out / name, canvas)
    map_.num_given = 0  # loops are looked for in it, too
    empty = View(np.zeros((0, 3)), np.zeros((0, 2)), np.zeros(0, np.int64), np.zeros((0, 128), np.float32))
    seen = two_at_a_time(lambda index: view_of(map_, index, canvas, config.places), range(len(map_.keyframes)))
    views = [empty if view is None else view for view in seen]
    looks = LookIndex(config.places.words, config.seed)
    looks.update(map_)
    return Finished(name, MapTruth(map_, session.recording.groundtruth), canvas, views, looks)


def compare(old: View, new: View, focal: float, loop: LoopConfig, stages: Counter[str]) -> LoopMatch | None:
    """As in a search for loops, but fewer points are enough; counts the stages that the pair passes."""
    stages["alike"] += 1
    if see_points(old, new.bearing, new.descriptor, focal, loop) is None:
        return None
    stages["one way"] += 1
    match = match_views(old, new, focal, replace(loop, min_points=LEAST_POINTS[0]))
    stages["both ways"] += match is not None and len(match.rows) >= loop.min_points
    return match


def between(maps: list[Finished], same: list[list[str]], config: Config) -> tuple[Counter[str], list[dict[str, Any]]]:
    """Pairs of keyframes of different scenes that pass each stage, and those that match, which are all wrong."""
    stages, rows = Counter[str](), list[dict[str, Any]]()
    for number, new in enumerate(tqdm(maps, desc="between maps")):
        for old in maps[:number]:
            if any({old.name, new.name} <= set(names) for names in same):
                continue
            stages["pairs"] += len(old.views) * len(new.views)
            for index, view in enumerate(new.views):
                for candidate in old.alike(new.truth.map.keyframes[index], config):
                    match = compare(old.views[candidate], view, old.canvas.focal, config.loop, stages)
                    if match is not None:
                        names = {"old": f"{old.name} {candidate}", "new": f"{new.name} {index}"}
                        rows.append(names | {"points": len(match.rows)})
    return stages, rows


def within(one: Finished, config: Config) -> tuple[Counter[str], list[dict[str, Any]]]:
    """Pairs within a map that pass each stage, and those that match: how many points agree, and whether it is wrong."""
    stages, rows = Counter[str](), list[dict[str, Any]]()
    for new in range(config.places.min_gap, len(one.views)):
        older = new - config.places.min_gap
        stages["pairs"] += older
        stages["pairs without overlap"] += sum(not overlaps(one, old, new) for old in range(older))
        for old in one.alike(one.truth.map.keyframes[new], config, older):
            match = compare(one.views[old], one.views[new], one.canvas.focal, config.loop, stages)
            if match is not None:
                wrong = is_wrong(*one.truth.loop_error(old, new, match.new_from_old))
                rows.append({"new": new, "points": len(match.rows), "wrong": wrong})
                is_match = len(match.rows) >= config.loop.min_points
                stages["both ways without overlap"] += is_match and not overlaps(one, old, new)
    return stages, rows


def overlaps(one: Finished, old: int, new: int) -> bool:
    """Whether, by ground truth, one of two keyframes looks where the other's points are, seen or hidden."""
    for first, second in ((old, new), (new, old)):
        turned = one.truth.true[second] @ np.linalg.inv(one.truth.true[first])
        metres = one.truth.metres[first] * one.views[first].points
        bearing, depth = seen_from(turned, metres)
        shown = (depth > NEAR) & inside(one.canvas.pixels(bearing), one.canvas.valid)
        if shown.mean() > LEAST_OVERLAP:
            return True
    return False


def is_wrong(depths: float, degrees: float) -> bool:
    """Whether a loop is false."""
    return depths > FALSE_DEPTHS or degrees > FALSE_DEG


def revisited(one: Finished, config: Config) -> np.ndarray:
    """(K,) bool, keyframes near an older one of the map, with enough others between."""
    gap, count = config.places.min_gap, len(one.views)
    near = [bool((one.truth.unlike(one.truth.true[k])[: max(k - gap, 0)] < 1).any()) for k in range(count)]
    return np.array(near)


def curve(maps: list[Finished], rows: dict[str, list[dict[str, Any]]], config: Config) -> list[dict[str, Any]]:
    """Precision of matches, and recall of keyframes that see a place again, by the points that have to agree."""
    again = {one.name: set(np.flatnonzero(revisited(one, config)).tolist()) for one in maps}
    total, lines = sum(len(each) for each in again.values()), list[dict[str, Any]]()
    for least in LEAST_POINTS:
        kept = {name: [row for row in each if row["points"] >= least] for name, each in rows.items()}
        right = {name: {row["new"] for row in each if not row["wrong"]} for name, each in kept.items()}
        wrong = sum(row["wrong"] for each in kept.values() for row in each)
        found = sum(len(again[name] & right[name]) for name in again)
        number = sum(len(each) for each in kept.values())
        line = {"least_points": least, "matches": number, "wrong": wrong, "precision": 1 - wrong / max(number, 1)}
        lines.append(line | {"recall_of_keyframes": found / max(total, 1)})
    return lines


def loops(one: Finished, config: Config) -> dict[str, Any]:
    """Loops of a map as the system confirms them, and which stretches that see a place again have one."""
    key_s = 1e-6 * np.array([keyframe.t_us for keyframe in one.truth.map.keyframes])
    found = find_loops(one.truth.map, one.canvas, config.places, config.loop, config.seed, lambda old, new: False)
    errors = [one.truth.loop_error(loop.old, loop.new, loop.new_from_old) for loop in found]
    closed = {loop.new for loop, error in zip(found, errors, strict=True) if not is_wrong(*error)}
    edges = np.flatnonzero(np.diff(np.pad(revisited(one, config), 1).astype(int))).reshape(-1, 2)
    long = [(start, stop) for start, stop in edges.tolist() if key_s[stop - 1] - key_s[start] >= REVISIT_S]
    return {
        "keyframes": len(one.views),
        "loops": len(found),
        "false": [[loop.old, loop.new, *error] for loop, error in zip(found, errors, strict=True) if is_wrong(*error)],
        "revisits": len(long),
        "found": sum(bool(closed & set(range(start, stop))) for start, stop in long),
        "missed_s": [key_s[[start, stop - 1]].tolist() for start, stop in long if not closed & set(range(start, stop))],
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/false_loops"), help="runs with the maps")
    parser.add_argument("--same", nargs="+", action="append", default=[], help="names of recordings of one scene")
    arguments = parser.parse_args()
    maps = [finished(path, arguments.out, CONFIG) for path in tqdm(arguments.recordings, desc="maps")]
    own = {one.name: within(one, CONFIG) for one in tqdm(maps, desc="within maps")}
    confirmed = {one.name: loops(one, CONFIG) for one in tqdm(maps, desc="loops")}
    stages, matched = between(maps, arguments.same, CONFIG)
    lines = curve(maps, {name: each[1] for name, each in own.items()}, CONFIG)
    for line in lines:
        line["matches_between_scenes"] = sum(row["points"] >= line["least_points"] for row in matched)
    print(json.dumps({
        "different_scenes": stages, "matches_between_scenes": matched,
        "same_scene": sum((each[0] for each in own.values()), Counter[str]()),
        "curve": lines, "maps": confirmed, "commit": versions().get("commit"),
    }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()
