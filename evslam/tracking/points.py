"""Points tracked from event image to event image, and held against the patches in which they were first seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from evslam.geometry.canvas import Canvas
from evslam.settings_tracking import PointsConfig
from evslam.state import from_state, to_state
from evslam.tracking.event_frame import BORDER, EventFrame
from evslam.tracking.image_flow import fit_flow, flow_at, flow_matrix
from evslam.tracking.patch_kernels import SIDE, STRIDE, cut_anchors, follow, realign

ANCHOR_SIDE = 39  # pixels: a template's, with room to shrink or turn it
_MIN_FOR_FLOW = 8
_COLUMNS = ("ids", "place", "velocity", "slot", "idle")
_PATCHES = ("anchors", "linear", "anchor_place", "templates")
_STATE = (*_COLUMNS, *_PATCHES, "flow", "previous", "next_id", "num_frames", "begun_us", "moved_px")


class PointTracker:
    """Tracks up to `max_points` points over event images.

    Args:
        canvas: image plane.
        config: limits.

    Attributes:
        ids: (N,) int64, ascending.
        place: (N, 2) float64, canvas pixels on the last image.
        velocity: (N, 2) float64, px/s.
        flow: (6,) affine flow of the last image, px/s.
        begun_us, moved_px: time of the first image, and how far the scene has moved since, while that matters.
    """

    def __init__(self, canvas: Canvas, config: PointsConfig) -> None:
        self.canvas, self.config = canvas, config
        self.flow = np.zeros(6)
        self.previous: EventFrame | None = None
        self.allowed = cv2.erode(canvas.valid.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        self.anchors = np.zeros((config.max_points, 2, ANCHOR_SIDE, ANCHOR_SIDE), np.float32)
        self.linear = np.tile(np.eye(2), (config.max_points, 1, 1))
        self.anchor_place = np.zeros((config.max_points, 2))
        self.templates = (
            np.zeros((config.max_points, 2, SIDE, STRIDE), np.float32),
            np.zeros((config.max_points, 2, 2, SIDE, STRIDE), np.float32),
            np.zeros((config.max_points, 3)),
            np.full((config.max_points, 2, 2), np.inf),
        )
        self.next_id = self.num_frames = self.begun_us = 0
        self.moved_px = 0.0
        self.ids, self.slot, self.idle = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.place, self.velocity = np.zeros((0, 2)), np.zeros((0, 2))

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {name: to_state(getattr(self, name)) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another tracker."""
        for name in _STATE:
            setattr(self, name, from_state(state[name], (EventFrame,)))

    @property
    def speed(self) -> float:
        """Image speed in px/s that most points stay below; of the flow while there are few points."""
        if len(self.ids) < _MIN_FOR_FLOW:
            return float(np.hypot(self.flow[0], self.flow[3]))
        return float(np.quantile(np.hypot(*self.velocity.T), 0.7))

    @property
    def median_speed(self) -> float:
        """Median image speed, px/s; of the flow while there are few points."""
        if len(self.ids) < _MIN_FOR_FLOW:
            return float(np.hypot(self.flow[0], self.flow[3]))
        return float(np.median(np.hypot(*self.velocity.T)))

    def rest(self, t_us: int) -> None:
        """The camera has not moved until this time: all points stay, and nothing is expected to move."""
        self.flow, self.velocity = np.zeros(6), np.zeros_like(self.velocity)
        if self.previous is not None:
            self.previous = replace(self.previous, t_us=t_us)

    def expect(self, change: np.ndarray) -> None:
        """The flow has changed by (6,) px/s since the last image: all points are expected to move on accordingly."""
        self.flow = self.flow + change
        self.velocity = self.velocity + flow_at(change, self.place, self.canvas.centre)

    def track(self, frame: EventFrame, *, even: bool = False) -> None:
        """Move on to the next image: follow the points, drop what is unsure, detect new ones, evenly spread or the
        strongest; none before the images have run in."""
        if self.previous is not None and len(self.ids):
            self._follow(frame, (frame.t_us - self.previous.t_us) * 1e-6)
        if self._has_run_in(frame):
            few = len(self.ids) < 0.5 * self.config.max_points
            if len(self.ids) < 0.85 * self.config.max_points and (few or self.num_frames % 3 == 0):
                self._detect(frame, even=even)
            self.num_frames += 1
        self.previous = frame

    def _has_run_in(self, frame: EventFrame) -> bool:
        """Whether the scene has moved so far, or for so long, that its edges no longer stick to where they were first
        seen: the leaky channel begins empty."""
        config = self.config
        if self.previous is None:
            self.begun_us = frame.t_us
        elif self.moved_px < config.run_in_px:
            self.moved_px += self.median_speed * (frame.t_us - self.previous.t_us) * 1e-6
        return self.moved_px >= config.run_in_px or frame.t_us - self.begun_us >= 1e6 * config.run_in_s

    def _follow(self, frame: EventFrame, seconds: float) -> None:
        assert self.previous is not None
        config, centre, start = self.config, self.canvas.centre, self.place
        matrix = flow_matrix(self.flow, centre, seconds)
        own = 0.5 * (self.velocity - flow_at(self.flow, start, centre))
        place = start @ matrix[:2, :2].T + matrix[:2, 2] + seconds * own
        limits = np.array([config.iterations, config.tolerance_px, config.max_anchor_px])
        linear = np.ascontiguousarray(matrix[:2, :2])
        levels = self.previous.levels, frame.levels
        gap = follow(levels, BORDER, start, place, linear, np.linalg.inv(linear), limits)
        keep = gap < config.max_gap_px
        if keep.sum() >= _MIN_FOR_FLOW:
            measured = fit_flow(start[keep], (place - start)[keep] / seconds, centre)
            linear = flow_matrix(measured, centre, seconds)[:2, :2]
        self.linear = linear @ self.linear
        anchored = np.zeros(len(keep), bool)
        found = place[keep]
        patches = self.anchors, *self.templates
        anchored[keep] = realign(patches, self.slot[keep], self.linear, frame.levels[0], BORDER, found, limits)
        place[keep] = found
        velocity = (place - start) / seconds
        keep &= self._inside(place) & self._active(frame, place)
        if keep.sum() >= _MIN_FOR_FLOW:
            self.flow = fit_flow(start[keep], velocity[keep], centre)
            error = np.linalg.norm(velocity - flow_at(self.flow, start, centre), axis=1) * seconds
            keep &= error < config.max_outlier_px
        self.place, self.velocity = place, 0.5 * (self.velocity + velocity)
        if self.num_frames % 6 == 0:
            self._renew_anchors(frame, keep, anchored)
        self._select(keep)
        self._select(self._first_of_cell())

    def _inside(self, place: np.ndarray) -> np.ndarray:
        column, row = self._pixel(place)
        return self.allowed[row, column]

    def _pixel(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        column, row = np.rint(np.nan_to_num(place)).astype(int).T
        return column.clip(0, self.canvas.width - 1), row.clip(0, self.canvas.height - 1)

    def _active(self, frame: EventFrame, place: np.ndarray) -> np.ndarray:
        """Points that move but see no events for some images are dropped."""
        column, row = self._pixel(place)
        moving = np.maximum(np.hypot(*self.velocity.T), np.hypot(self.flow[0], self.flow[3])) > self.config.idle_speed
        silent = (frame.activity[row // 2, column // 2] < 0.7) & moving
        self.idle = np.where(silent, self.idle + 1, 0)
        return self.idle < self.config.max_idle

    def _renew_anchors(self, frame: EventFrame, keep: np.ndarray, anchored: np.ndarray) -> None:
        """Points that were not found in their patch, or whose patch is old, get a new one."""
        far = np.linalg.norm(self.place - self.anchor_place[self.slot], axis=1) > self.config.anchor_px
        self._anchor(frame, np.flatnonzero(keep & (far | ~anchored)))

    def _anchor(self, frame: EventFrame, which: np.ndarray) -> None:
        slot, place = self.slot[which], self.place[which]
        cut_anchors(frame.levels[0], place + BORDER, slot, self.anchors)
        self.linear[slot], self.anchor_place[slot] = np.eye(2), place
        self.templates[3][slot] = np.inf

    def _first_of_cell(self) -> np.ndarray:
        """Of points that have run into each other the oldest stays."""
        cell = (self.place // 3).astype(np.int64)
        _, first = np.unique(cell[:, 1] * self.canvas.width + cell[:, 0], return_index=True)
        keep = np.zeros(len(cell), bool)
        keep[first] = True
        return keep

    def _select(self, keep: np.ndarray) -> None:
        for name in _COLUMNS:
            setattr(self, name, getattr(self, name)[keep])

    def _detect(self, frame: EventFrame, *, even: bool) -> None:
        """Corners of both channels (Shi and Tomasi 1994) away from the points there are, where events fall; the
        strongest, or, evenly spread, the strongest of each square that has few points."""
        config = self.config
        active = cv2.resize(frame.activity, self.allowed.shape[::-1]) > 1
        free = (self.allowed & active).astype(np.uint8)
        for x, y in self.place.astype(int):
            cv2.circle(free, (x, y), config.min_distance_px, 0, -1)
        images = [np.ascontiguousarray(each[BORDER:-BORDER, BORDER:-BORDER]) for each in frame.levels[0]]
        corner = sum(cv2.cornerMinEigenVal(image, config.corner_block) for image in images) * free
        least = corner.max() * (config.even_corner if even else config.min_corner)
        peaks = (corner == cv2.dilate(corner, np.ones((3, 3)))) & (corner > least)
        row, column = np.nonzero(peaks)
        order = np.argsort(-corner[row, column], kind="stable")
        side, most = self.canvas.width / config.even_cells, config.even_points if even else config.max_points
        count = Counter(zip(*(self.place // side).T.tolist(), strict=True))
        chosen: list[tuple[int, int]] = []
        for x, y in zip(column[order].tolist(), row[order].tolist(), strict=True):
            if len(self.ids) + len(chosen) == config.max_points:
                break
            cell = x // side, y // side
            if free[y, x] and count[cell] < most:
                cv2.circle(free, (x, y), config.min_distance_px, 0, -1)
                count[cell] += 1
                chosen.append((x, y))
        self._add(frame, np.array(chosen, float).reshape(-1, 2))

    def _add(self, frame: EventFrame, place: np.ndarray) -> None:
        count = len(place)
        if not count:
            return
        unused = np.setdiff1d(np.arange(self.config.max_points), self.slot)[:count]
        self.ids = np.concatenate([self.ids, self.next_id + np.arange(count)])
        self.place = np.concatenate([self.place, place])
        self.velocity = np.concatenate([self.velocity, flow_at(self.flow, place, self.canvas.centre)])
        self.slot = np.concatenate([self.slot, unused])
        self.idle = np.concatenate([self.idle, np.zeros(count, np.int64)])
        self.next_id += count
        self._anchor(frame, np.arange(len(self.ids) - count, len(self.ids)))
