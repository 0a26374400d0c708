"""Does agreement with the panorama tell right places from wrong ones? Packets put back onto a map of true orientations.

    python -m evslam.eval.bench.relocalisation RECORDING... --trials 40

The panorama is made of the first part of a rotation, by ground truth. Packets from the whole of it are searched for
from orientations that are wrong by 2 to 7 degrees. A place is right within a degree. Printed as JSON: success of
packets whose view lies in known space, and agreement at right and at wrong places.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation, Slerp

from evslam.backend.relocalisation import cube_of_turns, find_place
from evslam.config import load_config
from evslam.io.recording import open_recording
from evslam.ops.sphere import SphereContrast, SphereGrid, sphere_events
from evslam.provenance import versions

KNOWN_SHARE, RIGHT_DEG, PACKET_S, NODES = 0.6, 1.0, 0.02, 5


def trials(path: Path, number: int, seed: int) -> list[dict[str, Any]]:
    """One row per packet: error and agreement of the place found, whether its time lies in the mapped part."""
    search, rng = load_config().relocalise, np.random.default_rng(seed)
    recording = open_recording(path)
    truth, camera = recording.groundtruth, recording.require_camera()
    if truth is None:
        raise SystemExit(f"{path}: no ground truth")
    start, stop = recording.reader.t_first_us * 1e-6, recording.reader.t_last_us * 1e-6
    rotation = Slerp(truth.t_us * 1e-6, Rotation.from_quat(truth.quaternion))
    table = camera.bearing_table(torch.float32)[0].numpy()
    home = rotation([start + 0.01])[0].inv()

    def bearings(first: float, last: float, step: int) -> tuple[np.ndarray, np.ndarray]:
        chunks = list(recording.reader.read(round(first * 1e6), round(last * 1e6), 1 << 20))
        t = np.concatenate([each.t for each in chunks]) * 1e-6
        x, y = (np.concatenate([getattr(each, name) for each in chunks]) for name in "xy")
        return t[::step], table[y, x][::step]

    def turned(t: np.ndarray) -> np.ndarray:
        return np.asarray((home * rotation(np.clip(t, truth.t_us[0] * 1e-6, truth.t_us[-1] * 1e-6))).as_matrix())

    known = start + KNOWN_SHARE * (stop - start)
    nodes, grid = np.arange(start, known, 0.004), SphereGrid(max(search.widths), 2)
    flat = grid.zeros()
    SphereContrast(sphere_events(*bearings(start, known, 8), nodes), grid).add_to(flat, turned(nodes))
    near, rows = cube_of_turns(np.radians(search.near_deg), np.radians(search.step_deg)), []
    for _ in range(number):
        begin = float(rng.uniform(start + 0.1, stop - 0.1))
        t, bearing = bearings(begin, begin + PACKET_S, 1)
        step = max(len(t) // search.max_events, 1)
        nodes = np.linspace(begin, begin + PACKET_S, NODES)
        axis = rng.normal(size=3)
        offset = Rotation.from_rotvec(np.radians(rng.uniform(2, 7)) * axis / np.linalg.norm(axis))
        packet, clock = sphere_events(t[::step], bearing[::step], nodes), time.perf_counter()
        place = find_place(packet, offset.as_matrix() @ turned(nodes), (grid, flat), near, search)
        error = float(np.degrees((place.turn * offset).magnitude()))
        rows.append({"known": begin < known, "error_deg": error, "agreement": place.agreement})
        rows[-1]["ms"] = 1000 * (time.perf_counter() - clock)
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--trials", type=int, default=40, help="per recording")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = [row for path in arguments.recordings for row in trials(path, arguments.trials, arguments.seed)]
    right = [row["agreement"] for row in rows if row["error_deg"] < RIGHT_DEG]
    wrong = [row["agreement"] for row in rows if row["error_deg"] >= RIGHT_DEG]
    known = [row for row in rows if row["known"]]
    print(json.dumps({
        "trials": len(rows),
        "known_space": {"trials": len(known), "right": sum(row["error_deg"] < RIGHT_DEG for row in known),
                        "lowest_agreement": min((row["agreement"] for row in known), default=None)},
        "agreement_right_min_median": [min(right, default=None), float(np.median(right)) if right else None],
        "agreement_wrong_max": max(wrong, default=None),
        "wrong": len(wrong),
        "median_ms": float(np.median([row["ms"] for row in rows])),
        "commit": versions().get("commit"),
    }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()
