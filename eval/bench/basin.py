"""How surely and how fast the maximum of the contrast is found from a distance, with the tracker's settings.

    python -m evslam.eval.bench.basin --distances 2 8 16 --starts 20 [RECORDING...]

For packets of simulated sequences and of the recordings that are given (rotations), starts lie at a distance of so many
bins of the finest image, in random directions, from the best maximum known; "warm" starts at the maximum of the packet
before, on the finest image alone. Every evaluation on every image counts. Success: the end lies within a tenth of a
bin of the best maximum.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from evslam.climb import Level, climb
from evslam.config import load_config
from evslam.eval.experiments.gradients import Study, packets
from evslam.eval.experiments.jobs import Sequence, Workplace, materialise
from evslam.geometry.camera import Camera
from evslam.optim import OPTIMISERS, Optimum
from evslam.packet_problem import Method, PacketProblem
from evslam.types import EventBatch

SIMULATED = (("rot_pan", 1.0), ("rot_fast", 1.0), ("demo", 2.0))  # and seconds of each
NEAR = 0.1  # bins


@dataclass(frozen=True)
class Packet:
    """A packet, and its problem on every image of the method."""

    method: Method
    finest: PacketProblem
    level: Callable[[float, bool, np.ndarray], Level]

    @staticmethod
    def of(batch: EventBatch, camera: Camera, method: Method) -> Packet:
        """The problems of a batch."""
        coarse = {scale: PacketProblem(batch, camera, method, scale, coarse=True) for scale in method.scales[:-1]}
        finest = PacketProblem(batch, camera, method, method.scales[-1])
        return Packet(method, finest, lambda scale, blurred, _: (coarse[scale] if blurred else finest).level)

    def run(self, start: np.ndarray, scales: tuple[float, ...]) -> list[Optimum]:
        """Optima on images of these bin widths, one after the other, from a start (P,)."""
        return climb(scales, self.level, start, self.method.solver, self.method.max_evaluations)

    def away(self, place: np.ndarray, distance: float, rng: np.random.Generator) -> np.ndarray:
        """Parameters at a distance in bins, in a random direction."""
        direction = rng.standard_normal(len(place))
        return place + self.finest.metric.unscale(distance * direction / np.linalg.norm(direction))

    def distance(self, first: np.ndarray, second: np.ndarray) -> float:
        """In bins."""
        return float(np.linalg.norm(self.finest.metric.scale(first - second)))


def measure(several: list[Packet], distances: list[float], starts: int, seed: int) -> Iterator[dict[str, Any]]:
    """Distance, success, evaluations and Hessians of every start; the packets follow each other."""
    rng, before = np.random.default_rng(seed), None
    for packet in tqdm(several, desc="packets", leave=False):
        scales = packet.method.scales
        rest = np.zeros(packet.method.free.stop - packet.method.free.start)
        found = packet.run(rest, scales)[-1]
        runs = [
            (f"{distance:g}", packet.run(packet.away(found.parameters, distance, rng), scales))
            for distance in distances
            for _ in range(starts)
        ]
        if before is not None:
            runs.append(("warm", packet.run(before, scales[-1:])))
        best = max([found, *(optima[-1] for _, optima in runs)], key=lambda optimum: optimum.value).parameters
        before = best
        for name, optima in runs:
            yield {
                "start [bins]": name,
                "success": packet.distance(optima[-1].parameters, best) < NEAR,
                "evaluations": sum(optimum.evaluations for optimum in optima),
                "Hessians": sum(optimum.hessians for optimum in optima),
            }


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per distance: number of starts, success rate, mean and worst effort."""
    groups = rows.groupby("start [bins]", sort=False)
    columns = {"starts": groups["success"].size(), "success": groups["success"].mean()}
    for name in ("evaluations", "Hessians"):
        columns |= {f"{name}, mean": groups[name].mean().round(2), f"{name}, worst": groups[name].max()}
    return pd.DataFrame(columns).reset_index()


def recordings(given: list[Path], seed: int, folder: Path) -> dict[str, Path]:
    """The simulated sequences, made in a folder, and the recordings that are given, by name."""
    place = Workplace(folder, folder)
    made = {name: materialise(Sequence(name, None, name, seed, seconds), place) for name, seconds in SIMULATED}
    return made | {path.name: path for path in given}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, nargs="*")
    parser.add_argument("--distances", type=float, nargs="+", default=[2.0, 8.0, 16.0], help="bins (default: 2 8 16)")
    parser.add_argument("--starts", type=int, default=20, help="per packet and distance (default: 20)")
    parser.add_argument("--packets", type=int, default=4, help="per recording (default: 4)")
    parser.add_argument("--events", type=int, default=20000, help="per packet (default: 20000)")
    parser.add_argument("--optimiser", choices=tuple(OPTIMISERS), default="newton")
    parser.add_argument("--seed", type=int, default=1, help="of the simulator and of the starts (default: 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    method = Method.from_config(load_config(), "rotation", arguments.optimiser)
    tables = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, path in recordings(arguments.recordings, arguments.seed, Path(folder)).items():
            camera, found = packets(path, Study(num_events=arguments.events, packets=arguments.packets))
            several = [Packet.of(batch, camera, method) for batch in found]
            tables[name] = pd.DataFrame(measure(several, arguments.distances, arguments.starts, arguments.seed))
    tables["all"] = pd.concat(tables.values())
    print(pd.concat({name: summary(rows) for name, rows in tables.items()}, names=["sequence", ""])
          .reset_index(level=0).to_markdown(index=False))  # fmt: skip


if __name__ == "__main__":
    main()
