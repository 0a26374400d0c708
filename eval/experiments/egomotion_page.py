"""One page of the egomotion experiment: the paper's claims with our verdicts, and every setting on one line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from evslam.eval.experiments.egomotion_runs import GOALS
from evslam.provenance import commit

_GOAL = GOALS["contrast"]
_HEAD = """# Egomotion by contrast maximisation: results

Written by `python -m evslam.eval.experiments egomotion` (commit {commit}).
Contrast maximisation of packets of events, kernels x gradient estimators x optimisers, against the claims of the paper
on functional backpropagation (arXiv 2602.12590). Square brackets: 95 % bootstrap intervals over packets. Effort:
evaluations or CPU time of one thread until {goal}, with that of runs that never got there, over the
number of runs that did. Random starts lie 2 to 16 pixels (RMS) off. "agrees": the interval holds the paper's figure and
excludes no effect; "open": it holds both; "no effect": it excludes the paper's figure only; "smaller", "larger",
"opposite": it excludes both.
"""


@dataclass(frozen=True)
class Section:
    """Tables of one motion, as `egomotion_report` makes them."""

    motion: str
    packets: Mapping[str, int]
    accuracy: pd.DataFrame
    convergence: pd.DataFrame
    claims: pd.DataFrame


def write_page(sections: Sequence[Section], out: Path) -> Path:
    """Write out/results.md; returns the file."""
    parts = [_HEAD.format(commit=commit(), goal=_GOAL)]
    for each in sections:
        number = ", ".join(f"{name} {count}" for name, count in each.packets.items())
        parts.append(f"## {each.motion}\n\n{sum(each.packets.values())} packets: {number}.\n")
        for title, frame in (("The paper's claims", claimed(each)), ("Every setting, fastest first", settings(each))):
            if len(frame):
                parts.append(f"### {title}\n\n{_compact(frame)}\n")
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def claimed(section: Section) -> pd.DataFrame:
    """Functional against raw gradients of linear bins, from random starts, and the change of the RMS error.

    Box bins have no raw gradient to compare with; other reconstructions are not fused, so that their times say nothing.
    """
    frame = section.claims
    if not len(frame):
        return frame
    figures = frame["figure"].str.contains(f"random start, {_GOAL}", regex=False) | frame["figure"].str.contains("RMS")
    alike = (frame["kernel"] == "linear") & (frame["reconstruction"] == "linear") & (frame["rival"] == "raw")
    chosen = frame[alike & figures]
    shorter = chosen["figure"].str.replace(f"random start, {_GOAL}: ", "", regex=False)
    return chosen.assign(figure=shorter).drop(columns=["kernel", "reconstruction", "rival"])


def settings(section: Section) -> pd.DataFrame:
    """Accuracy and effort of every configuration, by the time from random starts."""
    effort = section.convergence[section.convergence["goal"] == _GOAL].drop(columns="goal")
    frame = section.accuracy.drop(columns=["packets", "centred [deg/s]"], errors="ignore")
    frame = frame.merge(effort, on="configuration")
    return frame.sort_values("random: time [ms]", key=lambda column: column.map(_leading))


def _compact(frame: pd.DataFrame) -> str:
    """A Markdown table without padding."""
    text = frame.fillna("").to_markdown(index=False, disable_numparse=True)
    return re.sub(r":?-{4,}", "---", re.sub(r" +", " ", text))


def _leading(text: Any) -> float:
    """The number at the beginning of an interval; infinite where there is none."""
    try:
        return float(str(text).split()[0])
    except (ValueError, IndexError):
        return float("inf")
