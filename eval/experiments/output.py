"""Tables as CSV, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd


def write_table(frame: pd.DataFrame, folder: Path, name: str, notes: Sequence[str] = ()) -> list[Path]:
    """Write folder/name.csv, .md and .tex, the notes below (as comments in LaTeX, left out of CSV)."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = frame.astype(object).where(frame.notna(), "")
    markdown = f"{shown.to_markdown(index=False, disable_numparse=True)}\n\n" + "".join(f"- {n}\n" for n in notes)
    latex = shown.to_latex(index=False, escape=True, column_format="l" + "r" * (shown.shape[1] - 1))
    contents = {"csv": frame.to_csv(index=False), "md": markdown, "tex": latex + "".join(f"% {n}\n" for n in notes)}
    paths = []
    for suffix, text in contents.items():
        paths.append(folder / f"{name}.{suffix}")
        paths[-1].write_text(text, encoding="utf-8")
    return paths
