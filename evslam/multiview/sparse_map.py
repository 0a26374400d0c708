"""The sparse map: keyframes, and landmarks triangulated from the points that were tracked through them."""

from __future__ import annotations

import numpy as np

from evslam.geometry.similarity import Similarity
from evslam.multiview.anchored import AnchoredPoses
from evslam.multiview.edges import EdgeImage, EdgeLevel, EdgePoints
from evslam.multiview.keyframe import Keyframe
from evslam.multiview.observations import Observations
from evslam.types import PointFrame


class SparseMap:
    """Keyframes and landmarks.

    Attributes:
        keyframes: in the order of time.
        points: (P, 3) float64, world positions of the landmarks.
        alive: (P,) bool, False for a landmark that was taken out.
        spread: (P, 3) float64, standard deviation of a guess along the ray of the keyframe that saw it last: its depth
            is mostly that of its surroundings, no parallax has told it yet. Zero for the others.
        revisits: pairs of keyframes, earlier and later, that show the same place.
        stretch: of new keyframes, see `Keyframe`.
        num_given: keyframes of an earlier recording, the first ones: they stay where they are.
        anchored: poses of frames around keyframes that were taken out.
    """

    anchored = AnchoredPoses.none()

    def __init__(self) -> None:
        self.keyframes: list[Keyframe] = []
        self.points = np.zeros((0, 3))
        self.alive, self.spread = np.zeros(0, bool), np.zeros((0, 3))
        self.revisits: list[tuple[int, int]] = []
        self.stretch = self.num_given = 0
        self._landmark_of_track = np.full(1024, -1, np.int64)

    def landmarks(self, ids: np.ndarray) -> np.ndarray:
        """Landmark of each track (N,); -1 for none."""
        known, found = ids < len(self._landmark_of_track), np.full(len(ids), -1, np.int64)
        found[known] = self._landmark_of_track[ids[known]]
        return found

    @property
    def firm(self) -> np.ndarray:
        """(P,) bool, landmarks whose depth parallax has told."""
        return np.asarray(~self.spread.any(1))

    def median_depth(self, index: int) -> float:
        """Of the landmarks that a keyframe sees, at least a thousandth; 1 if it sees none."""
        keyframe = self.keyframes[index]
        landmark = keyframe.landmark[keyframe.landmark >= 0]
        if not len(landmark):
            return 1.0
        depth = self.points[landmark] @ keyframe.T_cam_world[2, :3] + keyframe.T_cam_world[2, 3]
        return max(float(np.median(depth)), 1e-3)

    def num_seen(self) -> int:
        """Tracks of the newest keyframe that have a landmark."""
        return int((self.landmarks(self.keyframes[-1].ids) >= 0).sum())

    def snapshot(self) -> SparseMap:
        """Points and tracks as they are now, without keyframes: what poses are estimated from while the map changes."""
        other = SparseMap()
        other.points, other.alive, other.spread = self.points.copy(), self.alive.copy(), self.spread.copy()
        other._landmark_of_track = self._landmark_of_track.copy()
        return other

    def copy(self) -> SparseMap:
        """The same, which changes on its own."""
        other = self.snapshot()
        other.keyframes = [keyframe.copy() for keyframe in self.keyframes]
        other.revisits, other.anchored = list(self.revisits), self.anchored
        other.stretch, other.num_given = self.stretch, self.num_given
        return other

    def restore(self, other: SparseMap) -> None:
        """Be what another map is, which is given up."""
        vars(self).update(vars(other))

    def unlink(self, ids: np.ndarray) -> None:
        """These tracks (M,) have turned out to follow something else than their landmark; their past is forgotten."""
        self._reserve(ids)
        self._landmark_of_track[ids] = -1
        self.forget(ids)

    def forget(self, ids: np.ndarray) -> None:
        """Past observations of these tracks serve no triangulation any more."""
        if not len(ids):
            return
        first = ids.min()
        for keyframe in self.keyframes:
            if keyframe.ids.max(initial=-1) < first:
                continue
            row, seen = keyframe.rows_of(ids)
            keyframe.usable[row[seen]] = False

    def add_keyframe(self, frame: PointFrame, T_cam_world: np.ndarray, is_inlier: np.ndarray) -> Keyframe:
        """A frame (N points) becomes a keyframe; inliers (N,) bool observe the landmark of their track."""
        keyframe = Keyframe(
            frame.t_us, T_cam_world, frame.ids, frame.bearing, signed=frame.signed, stretch=self.stretch
        )
        landmark = self.landmarks(frame.ids)
        keyframe.landmark[is_inlier] = landmark[is_inlier]
        self.keyframes.append(keyframe)
        return keyframe

    def add_landmarks(self, points: np.ndarray, ids: np.ndarray, spread: np.ndarray | None = None) -> np.ndarray:
        """New landmarks (M, 3) of tracks (M,), not yet observed by any keyframe; returns their indices (M,).

        Args:
            spread: (M, 3) of guesses; None for landmarks whose depth is known.
        """
        index = len(self.points) + np.arange(len(points))
        self.points = np.concatenate([self.points, points])
        self.alive = np.concatenate([self.alive, np.ones(len(points), bool)])
        self.spread = np.concatenate([self.spread, np.zeros_like(points) if spread is None else spread])
        self._reserve(ids)
        self._landmark_of_track[ids] = index
        return index

    def link(self, ids: np.ndarray, landmark: np.ndarray) -> None:
        """Tracks (M,) have turned out to follow landmarks (M,)."""
        self._reserve(ids)
        self._landmark_of_track[ids] = landmark

    def give(self) -> None:
        """The map is handed over to another recording: no track is known, and keyframes stay where they are."""
        self.anchored = AnchoredPoses.none()
        self.num_given, self._landmark_of_track = len(self.keyframes), np.full(1024, -1, np.int64)

    def are_neighbours(self, one: int, other: int) -> bool:
        """Whether both numbers are those of keyframes, and of one stretch."""
        if not (0 <= one < len(self.keyframes) and 0 <= other < len(self.keyframes)):
            return False
        return self.keyframes[one].stretch == self.keyframes[other].stretch

    def move(self, T_new_old: Similarity) -> None:
        """All of it into another world (one similarity)."""
        self.points = T_new_old.apply(self.points[None])[0]
        self.spread = T_new_old.turn(self.spread[None])[0]
        for keyframe in self.keyframes:
            keyframe.move(T_new_old @ Similarity.of_poses(np.linalg.inv(keyframe.T_cam_world)[None]))

    def append(self, other: SparseMap) -> None:
        """Keyframes and landmarks of another map, which is in the same frame and scale, follow those of this one.

        Args:
            other: of later times and other tracks; what it consisted of belongs to this map from now on.
        """
        landmarks, keyframes = len(self.points), len(self.keyframes)
        self.points = np.concatenate([self.points, other.points])
        self.alive = np.concatenate([self.alive, other.alive])
        self.spread = np.concatenate([self.spread, other.spread])
        for keyframe in other.keyframes:
            keyframe.landmark[keyframe.landmark >= 0] += landmarks
            keyframe.stretch += self.stretch + 1
        ids = np.flatnonzero(other._landmark_of_track >= 0)
        self.link(ids, landmarks + other._landmark_of_track[ids])
        self.keyframes += other.keyframes
        self.revisits += [(keyframes + old, keyframes + new) for old, new in other.revisits]
        self.stretch += other.stretch + 1
        self.anchored = self.anchored.join(other.anchored)

    def remove_keyframe(self, index: int) -> None:
        """Take a keyframe out, and the landmarks that no other sees; those before and after it are no neighbours."""
        if self.are_neighbours(index - 1, index + 1):
            self.stretch += 1
            for later in self.keyframes[index + 1 :]:
                later.stretch += 1
        gone = self.keyframes.pop(index)
        others = np.zeros(len(self.points) + 1, bool)
        for keyframe in self.keyframes:
            others[keyframe.landmark] = True
        seen = np.unique(gone.landmark[gone.landmark >= 0])
        self.remove_landmarks(seen[~others[seen]])
        pairs = [pair for pair in self.revisits if index not in pair]
        self.revisits = [(old - (old > index), new - (new > index)) for old, new in pairs]

    def remove_landmarks(self, index: np.ndarray, *, forget: bool = True) -> None:
        """Take landmarks out; their tracks may be triangulated again, from later keyframes alone if `forget`."""
        if not len(index):
            return
        self.alive[index] = False
        gone = np.zeros(len(self.points) + 1, bool)  # the last is that of -1, no landmark
        gone[index] = True
        self._landmark_of_track[gone[self._landmark_of_track]] = -1
        for keyframe in self.keyframes:
            hit = gone[keyframe.landmark]
            keyframe.landmark[hit] = -1
            if forget:
                keyframe.usable[hit] = False

    def join_landmarks(self, kept: np.ndarray, gone: np.ndarray) -> None:
        """What was seen of some landmarks is seen of others, which are the same.

        Args:
            kept, gone: (M,) int64, pairs, one after the other; those with a landmark that is gone already count for
                nothing.
        """
        into = np.arange(len(self.points))
        for one, other in zip(kept.tolist(), gone.tolist(), strict=True):
            if one != other and self.alive[one] and self.alive[other]:
                into[other], self.alive[other] = one, False
        while not np.array_equal(further := into[into], into):
            into = further
        into = np.append(into, -1)  # where there is none
        self._landmark_of_track = into[self._landmark_of_track]
        for keyframe in self.keyframes:
            keyframe.landmark = into[keyframe.landmark]

    def observations(self, views: list[int], landmarks: np.ndarray) -> Observations:
        """How keyframes `views` see `landmarks` (M,): views and points are numbered in the order given."""
        place = np.full(len(self.points) + 1, -1, np.int64)
        place[landmarks] = np.arange(len(landmarks))
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for number, index in enumerate(views):
            keyframe = self.keyframes[index]
            point = place[keyframe.landmark]
            seen = np.flatnonzero(point >= 0)
            parts.append((np.full(len(seen), number), point[seen], keyframe.bearing[seen]))
        view, point, bearing = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Observations.of_points(view, point, bearing)

    def _reserve(self, ids: np.ndarray) -> None:
        """Room for these track numbers."""
        largest = int(ids.max(initial=-1))
        if largest >= len(self._landmark_of_track):
            more = np.full(
                max(largest + 1, 2 * len(self._landmark_of_track)) - len(self._landmark_of_track), -1, np.int64
            )
            self._landmark_of_track = np.concatenate([self._landmark_of_track, more])


MAP_CLASSES = (SparseMap, Keyframe, EdgeImage, EdgeLevel, EdgePoints, AnchoredPoses)  # of which a map is made
