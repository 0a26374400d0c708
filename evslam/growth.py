"""How a map grows by a keyframe, in either direction of time."""

from __future__ import annotations

from evslam.backend.window import adjust_window, choose_window
from evslam.beside import two_at_a_time
from evslam.config import Config
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_tracks import link_edges, sweep_keyframe
from evslam.mapping.landmarks import add_new_landmarks
from evslam.multiview.sparse_map import SparseMap


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
    two_at_a_time(lambda index: sweep_keyframe(map_, index, imager, config.link), swept)
    window = choose_window(map_, config.window)
    links = link_edges(map_, window.views, window.is_free, imager, config.link)
    adjust_window(map_, window, imager.canvas.focal, config.window, links)
