"""From the rows of egomotion jobs to arrays over packets: cost, hits and errors of every configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evslam.eval.egomotion import angular_errors_deg, direction_errors_deg, fit_scale

SHARE = 0.99
GOALS = {"contrast": "99 % of the contrast", "gain": "99 % of the gain", "stop": "its own stop"}
KINDS = ("warm", "random")
Key = tuple[str, int]  # sequence, t_ref_us


@dataclass(frozen=True)
class Effort:
    """Per packet (P,): evaluations and CPU seconds spent until the goal (or the end), runs and runs with success."""

    evaluations: np.ndarray
    seconds: np.ndarray
    runs: np.ndarray
    hits: np.ndarray

    @staticmethod
    def none(num_packets: int) -> Effort:
        """Before the first run."""
        return Effort(*(np.zeros(num_packets) for _ in range(4)))


@dataclass(frozen=True)
class Results:
    """Everything about one configuration, over the P packets of a group.

    Attributes:
        effort: by kind of start and goal.
        angular_deg, angular_centred_deg: (P,) error in deg/s, and after each sequence's median error is taken out.
        linear, direction_deg: (P,) error in m/s (after one scale per sequence where depth is unknown) and degrees.
        sharpness: (P,) contrast of the linear full-resolution image over the best of any configuration.
    """

    name: str
    settings: Mapping[str, Any]
    effort: dict[tuple[str, str], Effort]
    angular_deg: np.ndarray
    angular_centred_deg: np.ndarray
    linear: np.ndarray
    direction_deg: np.ndarray
    sharpness: np.ndarray


def packets_of(rows: Iterable[Mapping[str, Any]]) -> list[Key]:
    """Packets that all rows are about, in order."""
    return sorted({(row["job"]["sequence"]["name"], p["t_ref_us"]) for row in rows for p in row["figures"]["packets"]})


def best_contrasts(rows: Iterable[Mapping[str, Any]]) -> tuple[dict[tuple[Key, str], float], dict[Key, float]]:
    """Best value known for every packet and image, and best contrast of every packet's common image."""
    best: dict[tuple[Key, str], float] = {}
    common: dict[Key, float] = {}
    for row in rows:
        for packet in row["figures"]["packets"]:
            key = (row["job"]["sequence"]["name"], packet["t_ref_us"])
            where = (key, row["figures"]["image"])
            for run in packet["runs"]:
                if run["way"]:
                    best[where] = max(best.get(where, -np.inf), run["way"][-1][2])
                    common[key] = max(common.get(key, -np.inf), run["common"])
    return best, common


def results(rows: list[Mapping[str, Any]]) -> list[Results]:
    """One entry per configuration of a group of rows (same motion), all over the same packets."""
    keys = packets_of(rows)
    best, common = best_contrasts(rows)
    names = dict.fromkeys(row["job"]["configuration"] for row in rows)
    return [_result([r for r in rows if r["job"]["configuration"] == name], keys, best, common) for name in names]


def reach(run: Mapping[str, Any], goal: str, best: float) -> tuple[float, float] | None:
    """Evaluations and seconds after which a run reached the goal, None if it never did."""
    if goal == "stop":
        return (run["evaluations"], run["seconds"]) if run["way"] else None
    threshold = SHARE * best if goal == "contrast" else 1 + SHARE * (best - 1)
    return next(((count, seconds) for count, seconds, value in run["way"] if value >= threshold), None)


def _result(rows: list[Mapping[str, Any]], keys: list[Key], best: Any, common: Any) -> Results:
    index = {key: i for i, key in enumerate(keys)}
    effort = {(kind, goal): Effort.none(len(keys)) for kind in KINDS for goal in GOALS}
    twists, truths = np.full((len(keys), 6), np.nan), np.full((len(keys), 6), np.nan)
    sharpness = np.full(len(keys), np.nan)
    for row in rows:
        name, image = row["job"]["sequence"]["name"], row["figures"]["image"]
        for packet in row["figures"]["packets"]:
            key = (name, packet["t_ref_us"])
            i = index[key]
            for run in packet["runs"]:
                if run["kind"] in KINDS:
                    _add(effort, run, i, best.get((key, image), np.inf))
            chained = packet["runs"][0]
            truths[i] = [np.nan if x is None else x for x in packet["truth"]]
            if chained["twist"] is not None:
                twists[i] = chained["twist"]
                sharpness[i] = chained["common"] / common[key]
    settings = rows[0]["figures"]["settings"]
    angular, centred, linear, direction = _errors(twists, truths, [key[0] for key in keys], settings)
    name = rows[0]["job"]["configuration"]
    return Results(name, settings, effort, angular, centred, linear, direction, sharpness)


def _add(effort: dict[tuple[str, str], Effort], run: Mapping[str, Any], i: int, best: float) -> None:
    for goal in GOALS:
        each = effort[run["kind"], goal]
        reached = reach(run, goal, best)
        count, seconds = reached or (run["evaluations"], run["seconds"])
        each.evaluations[i] += count
        each.seconds[i] += seconds
        each.runs[i] += 1
        each.hits[i] += reached is not None


def _errors(
    twists: np.ndarray, truths: np.ndarray, sequences: list[str], settings: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    angular, centred, linear, direction = np.full((4, len(twists)), np.nan)
    names = np.array(sequences)
    for name in dict.fromkeys(sequences):
        here = names == name
        estimate, reference = twists[here], truths[here]
        if settings["motion"] != "translation":
            difference = estimate[:, 3:] - reference[:, 3:]
            known = np.isfinite(difference).all(1)
            bias = np.median(difference[known], axis=0) if known.any() else np.zeros(3)
            angular[here] = angular_errors_deg(estimate[:, 3:], reference[:, 3:])
            centred[here] = angular_errors_deg(difference, np.broadcast_to(bias, difference.shape))
        if settings["motion"] != "rotation":
            known = np.isfinite(estimate[:, :3]).all(1) & np.isfinite(reference[:, :3]).all(1)
            scale = 1.0 if settings["depth"] == "known" else fit_scale(estimate[known, :3], reference[known, :3])
            linear[here] = np.linalg.norm(scale * estimate[:, :3] - reference[:, :3], axis=1)
            direction[here] = direction_errors_deg(estimate[:, :3], reference[:, :3])
    return angular, centred, linear, direction
