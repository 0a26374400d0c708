"""Does the trajectory close? Views that come back to where the camera looked before, compared with each other alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.backend.relocalisation import find_place
from evslam.backend.rotation_trajectory import RotationTrajectory, panorama_grid
from evslam.ops.sphere import SphereContrast
from evslam.settings import RelocaliseConfig

_EARLY_S, _LATE_S = 0.4, 0.03  # events of the early view make a panorama, those of the late one are placed on it
_NODES = 9


@dataclass(frozen=True)
class Revisit:
    """A direction that was seen twice.

    Attributes:
        early_s, late_s: times of the two views, seconds after the trajectory's start.
        error_deg: rotation by which the late view has to be turned to fit the early one.
    """

    early_s: float
    late_s: float
    error_deg: float


def revisits(
    trajectory: RotationTrajectory,
    config: RelocaliseConfig,
    apart_s: float = 3.0,
    near_deg: float = 12.0,
    most: int = 20,
) -> list[Revisit]:
    """Compare views of the same direction that lie at least `apart_s` seconds apart, each pair on its own.

    The early view alone makes a panorama; the late one is aligned to it. What is left of drift shows as their
    difference, because neither saw what happened between them.

    Args:
        trajectory: after tracking or refinement.
        config: widths and evaluations of the alignment, and the agreement below which a pair tells nothing.
        apart_s: seconds between the views. near_deg: between their orientations. most: pairs to be compared.
    """
    spline = trajectory.spline()
    times = np.arange(spline.span[0] + _EARLY_S, spline.span[1] - _LATE_S, 0.25)
    found: list[Revisit] = []
    if len(times) == 0:
        return found
    rotation = spline.rotation(times)
    for k in np.flatnonzero(times > times[0] + apart_s):
        apart = (rotation[: np.searchsorted(times, times[k] - apart_s)].inv() * rotation[int(k)]).magnitude()
        first = np.flatnonzero(apart < np.radians(near_deg))
        if len(first):
            found.append(Revisit(float(times[first[0]]), float(times[k]), np.nan))
    chosen = [found[i] for i in np.unique(np.linspace(0, len(found) - 1, min(most, len(found))).astype(int))]
    measured = [_compare(trajectory, each, config) for each in chosen]
    return [each for each in measured if each is not None]


def _compare(trajectory: RotationTrajectory, pair: Revisit, config: RelocaliseConfig) -> Revisit | None:
    grid = panorama_grid(trajectory.config, max(config.widths))
    spline, flat = trajectory.spline(), grid.zeros()
    early = np.linspace(pair.early_s - _EARLY_S / 2, pair.early_s + _EARLY_S / 2, 4 * _NODES)
    late = np.linspace(pair.late_s - _LATE_S / 2, pair.late_s + _LATE_S / 2, _NODES)
    SphereContrast(trajectory.events(early), grid).add_to(flat, spline.matrices(early))
    events, rotations = trajectory.events(late), spline.matrices(late)
    if events.num_events == 0:
        return None
    place = find_place(events, rotations, (grid, flat), Rotation.identity(1), config)
    if place.agreement < config.min_agreement:
        return None
    return Revisit(pair.early_s, pair.late_s, float(np.degrees(place.turn.magnitude())))
