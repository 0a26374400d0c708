"""The maps that are not being tracked, and how tracking comes back to them."""

from __future__ import annotations

from typing import Any

from evslam.backend.places import DIMENSIONS
from evslam.beside import Worker
from evslam.config import Config
from evslam.errors import ConfigError
from evslam.mapping.edge_image import EdgeImager
from evslam.multiview.sparse_map import MAP_CLASSES, SparseMap
from evslam.relocaliser import Relocaliser, Return
from evslam.segments import Segment, join_maps, without_known
from evslam.state import from_state, to_state
from evslam.tracking.point_pose import PointPose
from evslam.types import PointFrame


class Atlas:
    """Keeps maps that were lost or given, and looks for the camera in them.

    Args:
        config: resolved configuration.
        imager: canvas, and how edges are found.
        worker: does the search, perhaps in a thread of its own.

    Attributes:
        segments: in the order of time.
        relocaliser: looks for the camera in their maps.
        num_returns: how often one of them was taken out again.
    """

    def __init__(self, config: Config, imager: EdgeImager, worker: Worker) -> None:
        self.segments: list[Segment] = []
        self.relocaliser = Relocaliser(config, imager, worker)
        self.num_returns = 0

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        state = {"segments": to_state(self.segments), "num_returns": self.num_returns}
        return state | {"relocaliser": self.relocaliser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another atlas."""
        self.segments = from_state(state["segments"], (Segment, PointFrame, *MAP_CLASSES))
        self.num_returns = state["num_returns"]
        self.relocaliser.load_state_dict(state["relocaliser"], [segment.map for segment in self.segments])

    @property
    def has_given(self) -> bool:
        """A map was given in which the camera is not tracked."""
        return any(segment.map.num_given for segment in self.segments)

    def give(self, map_: SparseMap) -> None:
        """The map of an earlier recording, whose keyframes have earlier times and other tracks.

        Raises:
            ConfigError: its places are described in another way.
        """
        kind = self.relocaliser.config.places.descriptor
        if {keyframe.look.shape[1] for keyframe in map_.keyframes if keyframe.look is not None} - {DIMENSIONS[kind]}:
            raise ConfigError(f"places.descriptor is {kind}, the given map was made with another; use the same")
        self.segments.append(Segment(map_, []))
        self._seek()

    def put_away(self, map_: SparseMap, frames: list[PointFrame], num_unsure: int) -> None:
        """Tracking was lost; in so many of the last frames, tracks that the map knows followed something else."""
        first = max(len(frames) - num_unsure, 0)
        sure, unsure = frames[:first], frames[first:]
        self.segments.append(Segment(map_, sure + [without_known(frame, map_) for frame in unsure], unsure))
        self._seek()

    def give_up(self, since_us: int, young_us: int) -> list[PointFrame]:
        """Forget the last maps, as long as each began after a time or was lost so young, in microseconds.

        Returns:
            What was tracked in them, in the order of time.
        """
        gone: list[Segment] = []
        while self.segments and not self.segments[-1].map.num_given:
            first, last = (self.segments[-1].map.keyframes[k].t_us for k in (0, -1))
            if first <= since_us and last > first + young_us:
                break
            gone.append(self.segments.pop())
        if gone:
            self._seek()
        return [frame for each in gone[::-1] for frame in each.tracked()]

    def take_out(self, found: Return, here: tuple[SparseMap, PointPose | None] | None) -> Segment | None:
        """The segment in whose map the camera was found; the map knows the tracks from now on.

        Args:
            found: where.
            here: the map that is tracked, which becomes part of the other one, and the frame's pose in it, if any.

        Returns:
            None, with nothing done, if the tracked map cannot be joined.
        """
        map_ = self.segments[found.links.number].map
        if here is None:
            found.links.apply(map_)
        elif here[1] is None or not join_maps(map_, here[0], found.pose, here[1]):
            return None
        else:
            found.links.merge(map_)
        map_.stretch += 1
        self.num_returns += 1
        segment = self.segments.pop(found.links.number)
        self._seek()
        return segment

    def _seek(self) -> None:
        self.relocaliser.seek([segment.map for segment in self.segments])
