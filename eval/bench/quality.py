"""Do the figures of a pose tell right from wrong? Receiver operating characteristic over spoilt poses and maps.

    python -m evslam.eval.bench.quality [--duration S] RECORDING...

Every tenth tracked pose of a run is taken for right; so give recordings that are tracked well. It is spoilt in two
ways: moved, so that the map's points move in the image by so many pixels (median), and by a map whose depths are wrong
by a factor (logarithmic standard deviation), fitted anew. Two figures are compared: the share of points near their
landmark (`contrast` in batches.csv), and the share of the edges in view that lie within a pixel of where they should
be. Printed for each are the area under the curve (1: separates, 0.5: does not), the threshold with the fewest errors,
with its rates of false alarms and misses, and the same for the configuration's limit for points, `pose.min_share`.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import rankdata

from evslam.config import Config, load_config
from evslam.geometry.rigid import seen_from
from evslam.mapper import Around
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_match import match_edges
from evslam.mapping.edge_pose import EdgeHost, edges_in_view
from evslam.multiview.edges import EdgeImage
from evslam.multiview.observations import PointSightings
from evslam.multiview.pose import PoseSettings, estimate_pose
from evslam.session import RunOptions, open_session
from evslam.slam import SpatialSlam
from evslam.types import TrackingState

MOVED_PX, DEPTH_FACTOR = (1.5, 3.0, 6.0, 12.0, 30.0), (0.1, 0.2, 0.4)
_EVERY, _SHARP_PX, _RADIUS_PX, _MIN_DEPTH = 10, 1.0, 3, 1e-3


@dataclass(frozen=True)
class Moment:
    """A pose T_cam_world (4, 4), and the points and edges it may be judged by."""

    T_cam_world: np.ndarray
    seen: PointSightings
    hosts: list[EdgeHost]
    image: EdgeImage


def moments(recording: Path, duration_s: float | None, config: Config) -> Iterator[tuple[Moment, EdgeImager]]:
    """Tracked poses of a recording; each is that of the frame before, which has events on both sides."""
    session = open_session(RunOptions(recording, Path(), duration_s=duration_s), config)
    slam = SpatialSlam(session.camera, config)
    odometry, batching = slam.odometry, replace(config, batch=config.frame.batching)
    before = None
    for number, batch in enumerate(session.batches(batching, session.start_us, lambda: slam.pace)):
        state, mapper = slam.process(batch).state, odometry.mapper
        if state is TrackingState.TRACKING and before is not None and number % _EVERY == 0 and mapper.hosts:
            t_us, pose = before
            events = slam.front_end.builder.events().around(t_us, config.link.window_s / 2)
            around = Around(*events, odometry.movers.hidden(t_us))
            image = mapper.edge_image(pose.T_cam_world, pose.seen.points, around, odometry.motion.twist)
            yield Moment(pose.T_cam_world, pose.seen, mapper.hosts, image), mapper.imager
        before = odometry.motion.last if state is TrackingState.TRACKING else None


def point_share(moment: Moment, focal: float, inlier_px: float) -> float:
    """Share of the points near their landmark."""
    bearing, depth = seen_from(moment.T_cam_world, moment.seen.points)
    error = focal * np.linalg.norm(bearing - moment.seen.bearing, axis=1)
    return float(((error < inlier_px) & (depth > _MIN_DEPTH)).mean())


def edge_share(moment: Moment, imager: EdgeImager) -> float:
    """Share of the hosts' edges in view that are found within a pixel of their place."""
    lines, pairs = [host.lines for host in moment.hosts], [(k, 0) for k in range(len(moment.hosts))]
    T_cam_host = moment.T_cam_world @ np.stack([host.T_world_cam for host in moment.hosts])
    matches = match_edges(imager, lines, [moment.image], pairs, T_cam_host, _RADIUS_PX)
    sharp = sum(int((match.found & (np.abs(match.offset) < _SHARP_PX)).sum()) for match in matches)
    return sharp / max(edges_in_view(imager, moment.image, moment.hosts, moment.T_cam_world), 1)


def moved(moment: Moment, pixels: float, focal: float, rng: np.random.Generator) -> Moment:
    """The same with another pose: a step in a random direction that moves the points by so many pixels."""
    depth = float(np.median(seen_from(moment.T_cam_world, moment.seen.points)[1]))
    direction = rng.normal(size=6) * [1, 1, 1, depth, depth, depth]

    def pose(length: float) -> np.ndarray:
        step = np.eye(4)
        step[:3, :3] = Rotation.from_rotvec(length * direction[:3]).as_matrix()
        step[:3, 3] = length * direction[3:]
        return np.asarray(step @ moment.T_cam_world)

    def motion(length: float) -> float:
        bearing, _ = seen_from(pose(length), moment.seen.points)
        return focal * float(np.median(np.linalg.norm(bearing - moment.seen.bearing, axis=1)))

    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if motion(middle) < pixels else (low, middle)
    return replace(moment, T_cam_world=pose(high))


def with_wrong_depth(moment: Moment, size: float, config: Config, focal: float, rng: np.random.Generator) -> Moment:
    """The same with a map whose points are nearer or farther as the oldest host sees them; the pose fits it best."""
    host = moment.hosts[0].T_cam_world
    centre = np.linalg.inv(host)[:3, 3]

    def spoil(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
        return centre + np.exp(size * rng.normal(size=(len(points), 1))) * (points - centre)

    def spoiled(lines: np.ndarray) -> np.ndarray:
        return np.column_stack([spoil(lines[:, :3], np.zeros(3)), lines[:, 3:]])

    seen = replace(moment.seen, points=spoil(moment.seen.points, centre))
    hosts = [replace(each, lines=spoiled(each.lines)) for each in moment.hosts]
    settings = PoseSettings(focal, config.pose.scale_px, 20)
    fit = estimate_pose(moment.T_cam_world, seen.points, seen.bearing, None, seen.weight, settings)
    return Moment(fit.T_cam_world, seen, hosts, moment.image)


def area(right: np.ndarray, wrong: np.ndarray) -> float:
    """Probability that a figure of a right pose is above one of a wrong pose: the area under the curve."""
    ranks = rankdata(np.concatenate([right, wrong]))[: len(right)]
    return float((ranks.sum() - len(right) * (len(right) + 1) / 2) / (len(right) * len(wrong)))


def best_threshold(right: np.ndarray, wrong: np.ndarray) -> float:
    """With the smallest sum of the rates of false alarms and misses."""
    candidates = np.unique(np.concatenate([right, wrong]))
    middles = (candidates[:-1] + candidates[1:]) / 2
    errors = [(right < each).mean() + (wrong >= each).mean() for each in middles]
    return float(middles[int(np.argmin(errors))]) if len(middles) else float(candidates[0])


def measure(recordings: list[Path], duration_s: float | None) -> dict[str, np.ndarray]:
    """Figures (N, 2), of points and of edges, by what was done to the poses; `right` where nothing was."""
    config, rng = load_config(), np.random.default_rng(0)
    figures: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for recording in recordings:
        for moment, imager in moments(recording, duration_s, config):
            focal = imager.canvas.focal
            cases = {"right": moment}
            cases |= {f"{px:g} px": moved(moment, px, focal, rng) for px in MOVED_PX}
            cases |= {f"depth x {s:g}": with_wrong_depth(moment, s, config, focal, rng) for s in DEPTH_FACTOR}
            for name, each in cases.items():
                figures[name].append((point_share(each, focal, config.pose.inlier_px), edge_share(each, imager)))
    return {name: np.array(each) for name, each in figures.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration", type=float, metavar="S", help="seconds of each recording")
    parser.add_argument("recordings", nargs="+", type=Path)
    arguments = parser.parse_args()
    figures, limit = measure(arguments.recordings, arguments.duration), load_config().pose.min_share
    right = figures.pop("right")
    print(f"{len(right)} right poses")
    for column, figure in enumerate(("points", "edges")):
        low, middle, high = np.quantile(right[:, column], [0.01, 0.5, 0.99])
        print(f"{figure}: right poses have {middle:.2f} (1 to 99 %: {low:.2f} to {high:.2f})")
        for name, wrong in [*figures.items(), ("all", np.concatenate(list(figures.values())))]:
            good, bad = right[:, column], wrong[:, column]
            thresholds = [best_threshold(good, bad)] + [limit] * (column == 0)
            rates = "; ".join(_rates(good, bad, each) for each in thresholds)
            print(f"  {name:12s} median {np.median(bad):.2f}, area {area(good, bad):.3f}, {rates}")


def _rates(right: np.ndarray, wrong: np.ndarray, threshold: float) -> str:
    alarms, missed = 100 * (right < threshold).mean(), 100 * (wrong >= threshold).mean()
    return f"at {threshold:.2f} {alarms:.1f} % false alarms, {missed:.1f} % missed"


if __name__ == "__main__":
    main()
