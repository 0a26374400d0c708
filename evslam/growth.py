"""How a map grows by a keyframe, in either direction of time."""

from __future__ import annotations

import numpy as np

from evslam.backend.place_search import look_of
from evslam.backend.window import adjust_window, choose_window
from evslam.config import Config
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_tracks import link_edges, sweep_keyframes
from evslam.mapping.landmarks import add_new_landmarks
from evslam.multiview.keyframe import Keyframe
from evslam.multiview.sparse_map import SparseMap
from evslam.types import PointFrame


def show(keyframe: Keyframe, frame: PointFrame, imager: EdgeImager, config: Config) -> None:
    """Give a keyframe what its frame has kept of the moment: what the place looks like, and the edge image.

    Args:
        keyframe: changed in place.
        frame: of which it was made; has its images, or none.
        imager: canvas, and how edges are found.
        config: resolved configuration.
    """
    keyframe.look = look_of(frame.signed, imager.canvas, config)
    if frame.votes is not None:
        keyframe.image = imager.of_votes(frame.votes.astype(np.float32), 0, frame.hidden)


def grow(map_: SparseMap, imager: EdgeImager, config: Config) -> None:
    """New landmarks of the newest keyframe, new depth of edges, adjustment of the last keyframes; given ones stay.

    Args:
        map_: changed in place; its newest keyframe has its edge image, if there is one.
        imager: canvas, and how edges are found.
        config: resolved configuration.
    """
    add_new_landmarks(map_, imager.canvas, config.landmark)
    swept = [len(map_.keyframes) - 1 - before for before in config.link.resweep]
    swept = [index for index in swept if index >= map_.num_given]
    sweep_keyframes(map_, swept, imager, config.link)
    window = choose_window(map_, config.window)
    links = link_edges(map_, window.views, window.is_free, imager, config.link)
    adjust_window(map_, window, imager.canvas.focal, config.window, links)
