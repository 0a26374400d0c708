"""Edges of keyframes before a known plane: their depth, their places in other keyframes, and what adjusting does."""

from __future__ import annotations

from dataclasses import replace

import edge_scene as scene
import numpy as np
from map_scenes import pose_error, project

from evslam.backend.window import adjust_window, choose_window
from evslam.config import load_config
from evslam.mapping.covisibility import Sightlines, covisible
from evslam.mapping.edge_tracks import edges_agree, link_edges, sweep_keyframe
from evslam.multiview.sparse_map import SparseMap
from evslam.types import PointFrame

CONFIG = load_config()
LINK = replace(CONFIG.link, offsets=(-3, -1, 1, 3), revisits=0)
IMAGER = scene.imager()
CANVAS = IMAGER.canvas
LINES = scene.lines()
CENTRES = [(0.0, 0.0), (0.06, 0.02), (0.12, 0.06), (0.16, 0.12), (0.2, 0.18), (0.22, 0.24), (0.2, 0.3)]
IMAGES = [scene.image_from(IMAGER, LINES, scene.moved(-x, -y)) for x, y in CENTRES]


def make_map() -> SparseMap:
    """Keyframes at CENTRES, whose tracks are every 150th point on the lines; poses and landmarks are exact."""
    map_, points = SparseMap(), LINES[::150]
    map_.add_landmarks(points, np.arange(len(points)))
    for number, (x, y) in enumerate(CENTRES):
        pose = scene.moved(-x, -y)
        frame = PointFrame(number * 100_000, np.arange(len(points)), project(pose, points))
        map_.add_keyframe(frame, pose, np.ones(len(points), bool)).image = IMAGES[number]
    return map_


def swept_map() -> SparseMap:
    map_ = make_map()
    for index in range(len(CENTRES)):
        sweep_keyframe(map_, index, IMAGER, LINK)
    return map_


def all_free(map_: SparseMap) -> tuple[list[int], np.ndarray]:
    return list(range(len(map_.keyframes))), np.ones(len(map_.keyframes), bool)


def test_depth_of_edges_is_that_of_the_plane() -> None:
    for keyframe in swept_map().keyframes:
        edges = keyframe.edges
        assert edges is not None
        assert len(edges) > 50
        assert np.median(np.abs(scene.DEPTH * edges.inverse_depth - 1)) < 0.02
        cells = (edges.pixel // CONFIG.edges.cell_px).astype(int)
        assert len(np.unique(cells, axis=0)) == len(edges)  # one in each cell


def test_without_neighbours_landmarks_or_an_image_no_depth_is_told() -> None:
    few, blind, bare = make_map(), make_map(), make_map()
    del few.keyframes[2:]
    blind.keyframes[3].image = None
    bare.keyframes[3].landmark[5:] = -1
    for map_, index in ((few, 0), (blind, 3), (bare, 3)):
        sweep_keyframe(map_, index, IMAGER, LINK)
        assert map_.keyframes[index].edges is None


def test_edges_are_found_in_other_keyframes_where_geometry_says() -> None:
    map_ = swept_map()
    links = link_edges(map_, *all_free(map_), IMAGER, LINK)
    assert links is not None
    seen = links.observations
    assert (np.diff(seen.point) >= 0).all()
    assert len(np.unique(seen.point)) == len(links.points) > 300
    first = np.searchsorted(seen.point, np.arange(len(links.points)))
    assert not seen.normal[first].any()  # the host sees its own point in both directions
    assert np.array_equal(seen.view[first], links.host)
    assert (
        np.abs(np.linalg.norm(seen.normal[np.setdiff1d(np.arange(len(seen)), first)], axis=1) - LINK.weight).max()
        < 1e-9
    )
    assert np.isin(seen.view - links.host[seen.point], (-3, -1, 0, 1, 3)).all()
    good = np.abs(links.points[:, 2] / scene.DEPTH - 1) < 0.03
    poses = np.stack([keyframe.T_cam_world for keyframe in map_.keyframes])
    expected = np.stack([project(poses[v], links.points[[p]])[0] for v, p in zip(seen.view, seen.point, strict=True)])
    across = CANVAS.focal * ((seen.bearing - expected) * seen.normal).sum(1) / LINK.weight
    assert np.median(np.abs(across[good[seen.point]])) < 0.3


def test_links_follow_the_observations_of_landmarks() -> None:
    map_ = swept_map()
    links = link_edges(map_, *all_free(map_), IMAGER, LINK)
    assert links is not None
    landmarks = np.arange(len(map_.points))
    own = map_.observations(list(range(len(CENTRES))), landmarks)
    both = links.after(own, len(landmarks))
    assert len(both) == len(own) + len(links.observations)
    assert np.array_equal(both.point[: len(own)], own.point)
    assert np.array_equal(both.point[len(own) :], links.observations.point + len(landmarks))
    assert (np.diff(both.point) >= 0).all()


def test_fixed_keyframes_host_no_edges_and_there_may_be_none() -> None:
    map_ = swept_map()
    views, is_free = all_free(map_)
    links = link_edges(map_, views, np.arange(len(views)) >= 5, IMAGER, LINK)
    assert links is not None
    assert set(links.host.tolist()) == {5, 6}
    assert link_edges(map_, views, ~is_free, IMAGER, LINK) is None
    assert link_edges(make_map(), views, is_free, IMAGER, LINK) is None


def test_edges_pull_a_disturbed_keyframe_back() -> None:
    """With only a few noisy landmarks, the edges make the pose better than the landmarks can."""
    errors = []
    for with_edges in (False, True):
        map_ = swept_map()
        rng = np.random.default_rng(4)
        for keyframe in map_.keyframes:
            keyframe.bearing += rng.normal(0, 0.8 / CANVAS.focal, keyframe.bearing.shape)
        map_.keyframes[5].T_cam_world = scene.moved(0.004, -0.004, 0.004) @ map_.keyframes[5].T_cam_world
        window = choose_window(map_, replace(CONFIG.window, keyframes=3))
        links = link_edges(map_, window.views, window.is_free, IMAGER, LINK) if with_edges else None
        adjust_window(map_, window, CANVAS.focal, CONFIG.window, links)
        apart = [
            pose_error(map_.keyframes[k].T_cam_world, scene.moved(-CENTRES[k][0], -CENTRES[k][1]))[0] for k in (4, 5, 6)
        ]
        errors.append(max(apart))
    assert errors[1] < 0.02
    assert errors[1] < 0.7 * errors[0]


def test_adjusted_depth_is_taken_over_and_what_does_not_fit_leaves() -> None:
    map_ = swept_map()
    host = map_.keyframes[3]
    links = link_edges(map_, [*range(len(CENTRES))], np.arange(len(CENTRES)) == 3, IMAGER, LINK)
    assert links is not None
    assert host.edges is not None
    before, error = host.edges, np.zeros(len(links.observations))
    moved = links.points.copy()
    centre = np.linalg.inv(host.T_cam_world)[:3, 3]
    moved[0] = centre + (moved[0] - centre) / 1.1  # a tenth nearer
    moved[1] = centre + (moved[1] - centre) / 2  # too far to be believed
    error[links.observations.point == 2] = 1.5 * links.max_error_px
    links.update(map_, moved, error)
    after = host.edges
    assert len(after) == len(before) - 2
    left = np.setdiff1d(np.arange(len(before)), links.row[[1, 2]])
    expected = before.inverse_depth.copy()
    expected[links.row[0]] *= 1.1
    assert np.allclose(after.inverse_depth, expected[left], rtol=1e-9)
    assert np.array_equal(after.pixel, before.pixel[left])


def test_keyframes_that_see_the_same_place_again_are_found() -> None:
    map_ = make_map()
    x = [0.0, 0.3, 0.6, 3.0, 6.0, 3.0, 0.7, 0.25, 0.02]
    for number, place in enumerate(x):
        if number >= len(map_.keyframes):
            old = map_.keyframes[0]
            map_.add_keyframe(PointFrame(number, old.ids, old.bearing), np.eye(4), np.ones(len(old.ids), bool))
        map_.keyframes[number].T_cam_world = scene.moved(-place)
    limits = (np.radians(25.0), 0.5)  # half of the depth of 2: within 1
    assert covisible(map_, Sightlines.of(map_), 8, 2, 6, limits) == [0, 2]  # 1 lies beside 0
    assert covisible(map_, Sightlines.of(map_), 8, 2, 1, limits) == [0]
    assert covisible(map_, Sightlines.of(map_), 4, 2, 6, limits) == []
    map_.keyframes[0].T_cam_world = np.diag([-1.0, 1, -1, 1])  # looks the other way
    assert covisible(map_, Sightlines.of(map_), 8, 2, 6, limits) == [1]
    assert covisible(map_, Sightlines.of(map_), 8, 0, 6, limits) == [7, 1, 2, 6]


def test_old_keyframes_hold_what_sees_their_edges_again() -> None:
    map_ = swept_map()
    old = map_.keyframes[0]
    config = replace(LINK, offsets=(-1, 1), revisits=2)
    again = map_.add_keyframe(PointFrame(10**6, old.ids, old.bearing), np.eye(4), np.ones(len(old.ids), bool))
    again.image, newest = IMAGES[0], len(map_.keyframes) - 1
    links = link_edges(map_, [newest], np.array([True]), IMAGER, config)
    assert links is not None
    assert not links.is_free.any()
    assert 0 in links.host
    assert set(links.observations.view.tolist()) == {0}
    again.T_cam_world = scene.moved(0.05, 0.05)  # five pixels: a map that has drifted apart
    assert link_edges(map_, [newest], np.array([True]), IMAGER, replace(config, max_revisit_px=0.5)) is None


def test_keyframes_agree_where_most_edges_in_view_lie_where_they_should() -> None:
    map_ = swept_map()
    old = map_.keyframes[0]
    again = map_.add_keyframe(PointFrame(10**6, old.ids, old.bearing), np.eye(4), np.ones(len(old.ids), bool))
    again.image, newest = IMAGES[0], len(map_.keyframes) - 1
    assert edges_agree(map_, 0, newest, IMAGER, LINK)
    assert not edges_agree(map_, 0, newest, IMAGER, replace(LINK, min_agreeing=1.01))
    again.T_cam_world = scene.moved(0.05, 0.05)  # five pixels
    assert not edges_agree(map_, 0, newest, IMAGER, replace(LINK, max_revisit_px=0.5))


def test_only_few_edges_found_where_many_are_in_view_are_no_agreement() -> None:
    map_ = swept_map()
    old = map_.keyframes[0]
    again = map_.add_keyframe(PointFrame(10**6, old.ids, old.bearing), np.eye(4), np.ones(len(old.ids), bool))
    image, width = IMAGES[0], IMAGES[0].band.shape[1]
    level = image.levels[-1]
    half = np.where(np.arange(width) < width // 2, level.band, 0.0).astype(np.float32)
    right = np.broadcast_to(np.arange(width) >= width // 2, level.band.shape)
    newest = len(map_.keyframes) - 1
    again.image = replace(image, levels=(*image.levels[:-1], replace(level, band=half)))
    assert not edges_agree(map_, 0, newest, IMAGER, replace(LINK, min_agreeing=0.8))
    again.image = replace(again.image, hidden=right)  # what something hides is not in view
    assert edges_agree(map_, 0, newest, IMAGER, replace(LINK, min_agreeing=0.8))
