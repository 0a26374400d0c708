"""Tables of the egomotion experiment: every configuration, and functional backpropagation against its rivals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evslam.eval.experiments.egomotion_figures import write_figures
from evslam.eval.experiments.egomotion_page import Section, write_page
from evslam.eval.experiments.egomotion_runs import GOALS, KINDS, Effort, Results, packets_of, results
from evslam.eval.experiments.output import write_table
from evslam.eval.experiments.statistics import Interval, draws, interval, ratio, root_mean_square

# The paper's claims (arXiv 2602.12590) by motion: how many times faster, change of the RMS error in %.
CLAIMS = {"rotation": ("angular", 1.66, -10.3), "translation": ("linear", 1.48, 3.9)}
_INTERVALS = (
    "Intervals: 95 %, percentile bootstrap over packets taken as independent; neighbours resemble each other, so the "
    "truth may be somewhat wider."
)
_EFFORT = (
    "Goal: 99 % of the best contrast known for the packet and the same image over all configurations and starts, or 99 "
    "% of its gain over no motion, or the optimiser's own stopping rule, wherever that is. Effort: evaluations and CPU "
    "time of one thread up to the goal, or to the end of a run that never got there, summed over all runs, over the "
    "number of runs that got there.",
    "warm: from the estimate of the packet before; random: from random starts at the distances of the experiment file.",
)
_ACCURACY = (
    "RMS errors of the warm-started chain against the truth; centred: each sequence's median error (a gyro bias) taken "
    "out; linear: where depth is unknown after one scale per sequence.",
    "sharpness: contrast of the result on one common image (linear bins of one pixel) over the best of all "
    "configurations, mean over packets.",
)
_VERDICTS = (
    "Verdict: agrees: the interval holds the paper's figure and excludes no effect; open: it holds both; no effect: it "
    "holds no effect and excludes the paper's figure; smaller, larger, opposite: it excludes both."
)


def report(rows: list[Mapping[str, Any]], out: Path) -> list[Path]:
    """Write tables, figures and a page of the jobs that succeeded; returns the files."""
    written, sections = [], []
    for motion in dict.fromkeys(row["figures"]["settings"]["motion"] for row in rows):
        group = [row for row in rows if row["figures"]["settings"]["motion"] == motion]
        everything, keys = results(group), packets_of(group)
        counts = draws(len(keys))
        section = Section(
            motion,
            dict(Counter(name for name, _ in keys)),
            accuracy(everything, counts),
            convergence(everything, counts),
            comparison(everything, counts, motion),
        )
        sections.append(section)
        written += write_table(section.accuracy, out, f"accuracy_{motion}", (_INTERVALS, *_ACCURACY))
        written += write_table(section.convergence, out, f"convergence_{motion}", (_INTERVALS, *_EFFORT))
        if len(section.claims):
            written += write_table(section.claims, out, f"claims_{motion}", (_INTERVALS, *_EFFORT, _VERDICTS))
        written += write_table(by_sequence(group), out, f"sequences_{motion}", (_INTERVALS, *_ACCURACY, *_EFFORT))
        written += write_figures(group, motion, out / "figures")
    return [*written, write_page(sections, out)]


def by_sequence(rows: list[Mapping[str, Any]]) -> pd.DataFrame:
    """Accuracy and convergence of every sequence by itself, with the source of its truth."""
    parts = []
    for name in dict.fromkeys(row["job"]["sequence"]["name"] for row in rows):
        group = [row for row in rows if row["job"]["sequence"]["name"] == name]
        everything, counts = results(group), draws(len(packets_of(group)))
        frame = accuracy(everything, counts).merge(convergence(everything, counts), on="configuration")
        motion = group[0]["figures"]["settings"]["motion"]
        source = group[0]["figures"]["linear_source" if motion == "translation" else "angular_source"]
        frame.insert(0, "sequence", name)
        parts.append(frame.assign(truth=source))
    return pd.concat(parts, ignore_index=True)


def accuracy(everything: Sequence[Results], counts: np.ndarray) -> pd.DataFrame:
    """One row per configuration: errors of the warm-started chain."""
    rows = []
    for each in everything:
        row: dict[str, Any] = {"configuration": each.name, "packets": int(np.isfinite(each.sharpness).sum())}
        errors = {
            "angular RMS [deg/s]": (each.angular_deg, 2),
            "centred [deg/s]": (each.angular_centred_deg, 2),
            "linear RMS [m/s]": (each.linear, 3),
            "direction RMS [deg]": (each.direction_deg, 1),
        }
        for title, (error, decimals) in errors.items():
            if np.isfinite(error).any():
                row[title] = interval(root_mean_square(counts, error)).text(decimals)
        finite = np.isfinite(each.sharpness)
        row["sharpness"] = interval(ratio(counts, np.where(finite, each.sharpness, 0), finite.astype(float))).text(4)
        rows.append(row)
    return pd.DataFrame(rows)


def convergence(everything: Sequence[Results], counts: np.ndarray) -> pd.DataFrame:
    """One row per configuration and goal: effort and success from warm and from random starts."""
    rows = []
    for each in everything:
        for goal in GOALS:
            row: dict[str, Any] = {"configuration": each.name, "goal": GOALS[goal]}
            for kind in KINDS:
                effort = each.effort[kind, goal]
                if effort.runs.sum():
                    row[f"{kind}: evaluations"] = _cost(effort, "evaluations", counts).text(1)
                    row[f"{kind}: time [ms]"] = _cost(effort, "seconds", counts).text(1, 1e3)
                    row[f"{kind}: success"] = interval(ratio(counts, effort.hits, effort.runs)).text(3)
            rows.append(row)
    return pd.DataFrame(rows)


def _cost(effort: Effort, what: str, counts: np.ndarray) -> Interval:
    return interval(ratio(counts, getattr(effort, what), effort.hits))


def comparison(everything: Sequence[Results], counts: np.ndarray, motion: str) -> pd.DataFrame:
    """Functional backpropagation against every other estimator with everything else equal, beside the paper's claim."""
    rows = []
    for ours in everything:
        for other in everything:
            rivals = ours.settings["gradient"] == "functional" != other.settings["gradient"]
            if rivals and _alike(ours.settings, other.settings):
                rows += _compare(ours, other, counts, motion)
    return pd.DataFrame(rows)


def _alike(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    ignored = ("gradient", "reconstruction", "truth", "max_packets")  # the last two differ between sequences
    return {k: v for k, v in first.items() if k not in ignored} == {k: v for k, v in second.items() if k not in ignored}


def _compare(ours: Results, other: Results, counts: np.ndarray, motion: str) -> list[dict[str, Any]]:
    names = {key: ours.settings[key] for key in ("kernel", "reconstruction")} | {"rival": other.settings["gradient"]}
    names |= {"functional": ours.name, "against": other.name}
    error, speed_claim, error_claim = CLAIMS.get(motion, CLAIMS["rotation"])
    rows: list[dict[str, Any]] = []
    for (kind, goal), mine in ours.effort.items():
        theirs = other.effort[kind, goal]
        both = counts * ((mine.runs > 0) & (theirs.runs > 0))  # packets that only one of them has seen do not count
        for what in ("evaluations", "seconds"):
            spent = [ratio(both, getattr(each, what), each.hits) for each in (theirs, mine)]
            with np.errstate(invalid="ignore"):
                found = interval(spent[0] / spent[1])
            figure = f"{kind} start, {GOALS[goal]}: {what}, theirs / ours"
            judged = verdict(found, speed_claim, 1.0)
            rows.append(names | {"figure": figure, "measured": found.text(), "paper": speed_claim, "verdict": judged})
    pair = [each.angular_centred_deg if error == "angular" else each.linear for each in (ours, other)]
    both = counts * np.isfinite(pair).all(0)
    errors = [root_mean_square(both, each) for each in pair]
    with np.errstate(invalid="ignore"):
        change = interval(100 * (errors[0] / errors[1] - 1))
    figure, judged = f"{error} RMS, change in %", verdict(change, error_claim, 0.0)
    rows.append(names | {"figure": figure, "measured": change.text(1), "paper": error_claim, "verdict": judged})
    return rows


def verdict(found: Interval, claim: float, nothing: float) -> str:
    """What an interval says about a claim: confirmed, smaller, larger, no effect, opposite, or not comparable."""
    if not np.isfinite([found.value, found.low, found.high]).all():
        return "one of them never arrives"
    if found.low <= claim <= found.high:
        return "agrees" if not found.low <= nothing <= found.high else "open"
    if found.low <= nothing <= found.high:
        return "no effect"
    same_side = (found.value - nothing) * (claim - nothing) > 0
    if not same_side:
        return "opposite"
    return "smaller" if abs(found.value - nothing) < abs(claim - nothing) else "larger"
