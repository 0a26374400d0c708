"""The map of a camera that moves freely, and what happens to it with every keyframe, beside the tracking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evslam.backend.place_search import look_of
from evslam.backend.window import adjust_window, choose_window
from evslam.beside import Worker
from evslam.config import Config
from evslam.culling import cull
from evslam.geometry.canvas import Canvas
from evslam.geometry.similarity import Similarity
from evslam.growth import grow, show
from evslam.looping import LoopCloser
from evslam.mapping.covisibility import Sightlines, covisible
from evslam.mapping.edge_image import EdgeImager, inverse_depth_grid
from evslam.mapping.edge_pose import EdgeHost
from evslam.mapping.edge_tracks import sweep_keyframes
from evslam.multiview.edges import EdgeImage
from evslam.multiview.keyframe import Keyframe, rows_of
from evslam.multiview.sparse_map import MAP_CLASSES, SparseMap
from evslam.state import from_state, to_state
from evslam.tracking.bootstrap import Start
from evslam.types import PointFrame

_MAX_START_ERROR_PX = 2.5
_STATE = ("map", "view", "hosts", "is_busy", "unlinked", "settled_us", "_before")


@dataclass(frozen=True)
class Around:
    """Events around a moment.

    Attributes:
        bearing: (N, 2) float32.
        seconds: (N,) float32, after the moment.
        hidden: (H, W) bool, where something moves before the scene; None for nowhere.
    """

    bearing: np.ndarray
    seconds: np.ndarray
    hidden: np.ndarray | None = None


SceneWindow = Callable[[int, float], Around]  # of a time in microseconds, within so many seconds on both sides


class Mapper:
    """Owns a map. It may be working on it from `extend` on: tracking sees `view` and `hosts`, and waits in `take` for
    what it goes on from, before the next keyframe for the rest.

    Args:
        config: resolved configuration.
        canvas: image plane.
        worker: does the work, perhaps in a thread of its own. The result is the same.

    Attributes:
        map: keyframes, landmarks, edges.
        view: its landmarks and tracks as tracking sees them.
        hosts: the latest keyframes' edges as tracking sees them.
        closer: closes loops of the map.
        is_busy: work was given out and not taken yet.
        settled_us: (N,) times of the frames that got their final pose last; may change until `wait`.
    """

    def __init__(self, config: Config, canvas: Canvas, worker: Worker) -> None:
        self.config, self.worker = config, worker
        self.imager = EdgeImager(canvas, config.edges)
        self.closer = LoopCloser(config, self.imager, worker)
        self.map, self.view = SparseMap(), SparseMap()
        self.hosts: list[EdgeHost] = []
        self.is_busy, self.unlinked = False, list[int]()
        self.settled_us = np.zeros(0, np.int64)
        self.wait: Callable[[], None] = lambda: None
        self._before = np.eye(4)  # T_cam_world of the newest keyframe when work was given out

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on; waits for the work."""
        self.wait()
        state: dict[str, Any] = {name: to_state(getattr(self, name)) for name in _STATE}
        return state | {"closer": self.closer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another mapper."""
        for name in _STATE:
            setattr(self, name, from_state(state[name], (*MAP_CLASSES, EdgeHost)))
        self.closer.load_state_dict(state["closer"])

    def begin(self, start: Start, points: np.ndarray, poses: np.ndarray) -> None:
        """A new map: the frames of a start become keyframes, its good points landmarks.

        Args:
            start: which frames, tracks and observations.
            points: (P, 3) of the start, world; poses: (C, 4, 4) T_cam_world of its frames.
        """
        self.wait()
        self.closer.forget()
        self.map, self.is_busy, self.unlinked = SparseMap(), False, []
        self.map.add_landmarks(points[start.good], start.ids[start.good])
        for number, (frame, T_cam_world) in enumerate(zip(start.frames, poses, strict=True)):
            row, seen = rows_of(start.ids, frame.ids)
            fits = np.zeros(len(start.ids), bool)
            mine = (start.observations.view == number) & (start.error_px < _MAX_START_ERROR_PX)
            fits[start.observations.point[mine]] = True
            keyframe = self.map.add_keyframe(frame, T_cam_world, seen & fits[row] & start.good[row])
            show(keyframe, frame, self.imager, self.config)
        window = choose_window(self.map, self.config.window)
        adjust_window(self.map, window, self.imager.canvas.focal, self.config.window)
        sweep_keyframes(self.map, range(len(self.map.keyframes)), self.imager, self.config.link)
        self._show()

    def adopt(self, map_: SparseMap) -> None:
        """Go on with another map; the edges of its last keyframes are not those in view."""
        self.wait()
        self.closer.forget()
        self.map, self.is_busy, self.unlinked = map_, False, []
        self.view, self.hosts = self.map.snapshot(), []

    def add_keyframe(self, frame: PointFrame, T_cam_world: np.ndarray, is_inlier: np.ndarray) -> Keyframe:
        """A frame becomes a keyframe; `is_inlier` (N,) says which points agree with the landmark of their track."""
        self.wait()
        self._unlink()
        return self.map.add_keyframe(frame, T_cam_world, is_inlier & (self.map.landmarks(frame.ids) >= 0))

    def unlink(self, ids: np.ndarray) -> None:
        """Tracks that follow something else than their landmark lose it: the view now, the map when it is free."""
        self.view.unlink(ids)
        self.unlinked += ids.tolist()

    def extend(self, around: Around, twist: np.ndarray) -> None:
        """Start to work on the newest keyframe.

        Args:
            around: the events around its moment.
            twist: (6,) of the camera then.
        """
        self.is_busy, self._before = True, self.map.keyframes[-1].T_cam_world
        self.wait = self.worker(self._extend, around, twist)

    def take(self, frames: list[PointFrame]) -> tuple[np.ndarray, Similarity | None, np.ndarray]:
        """Wait for the work and show it; loops, and a keyframe to do without, are looked for after that.

        Args:
            frames: of the map, in the order of time.

        Returns:
            Change (4, 4) of poses: T_cam_world becomes T_cam_world @ it. How the world was moved after that around the
            newest keyframe, by a loop that was closed; None without. Times (N,) of frames that got their final pose.
        """
        self.wait()
        self.is_busy = False
        self._unlink()
        change = np.linalg.inv(self._before) @ self.map.keyframes[-1].T_cam_world
        moved, settled_us = self.closer.take(self.map), self.settled_us
        self._show()
        self.wait = self.worker(self._look_back, frames)
        return change, moved, settled_us

    def edge_image(self, T_cam_world: np.ndarray, points: np.ndarray, around: Around, twist: np.ndarray) -> EdgeImage:
        """Events around a moment, compensated by the camera's motion and the depth of landmarks (N, 3) in view."""
        canvas = self.imager.canvas
        points = points @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]
        points = points[points[:, 2] > 1e-3]
        grid = inverse_depth_grid(canvas, canvas.pixels(points[:, :2] / points[:, 2:]), 1 / points[:, 2])
        return self.imager.with_twist(around.bearing, around.seconds, twist, grid, around.hidden)

    def points(self) -> np.ndarray:
        """(P, 3) landmarks and edges as they are at the moment, world frame, for a viewer; never waits."""
        points = [self.view.points[self.view.alive & self.view.firm]]
        for keyframe in list(self.map.keyframes):
            if keyframe.edges is not None:
                points.append(keyframe.edge_points(self.imager.canvas))
        return np.concatenate(points)

    def _extend(self, around: Around, twist: np.ndarray) -> None:
        """The newest keyframe's edge image, new landmarks, new depth of edges, adjustment of the last keyframes."""
        newest = self.map.keyframes[-1]
        points = self.map.points[newest.landmark[newest.landmark >= 0]]
        newest.image = self.edge_image(newest.T_cam_world, points, around, twist)
        grow(self.map, self.imager, self.config)

    def _look_back(self, frames: list[PointFrame]) -> None:
        """What the newest keyframe looks like; loops, and an old keyframe less."""
        newest = self.map.keyframes[-1]
        newest.look = look_of(newest.signed, self.imager.canvas, self.config)
        self.closer.look(self.map)
        if self.closer.is_idle:
            self.settled_us = cull(self.map, frames, self.imager, self.config)

    def _unlink(self) -> None:
        self.map.unlink(np.array(self.unlinked, np.int64))
        self.unlinked = []

    def _show(self) -> None:
        """What tracking sees from now on."""
        self.view = self.map.snapshot()
        chosen = [self.map.keyframes[index] for index in self._host_keyframes()]
        self.hosts = [EdgeHost.of(k.edges, k.T_cam_world, self.imager) for k in chosen if k.edges is not None]

    def _host_keyframes(self) -> list[int]:
        """The last keyframes of the stretch, and where these are few, others that see the same place."""
        newest, most, link = len(self.map.keyframes) - 1, self.config.edge_pose.keyframes, self.config.link
        latest = [k for k in range(newest + 1 - most, newest + 1) if self.map.are_neighbours(newest, k)]
        if len(latest) == min(most, newest + 1):
            return latest
        limits = float(np.radians(link.revisit_deg)), link.revisit_distance
        others = covisible(self.map, Sightlines.of(self.map), newest, len(latest) - 1, most - len(latest), limits)
        return latest + [each for each in others if each not in latest]
