"""Progress of long work: one bar, log lines above it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

_TERMINAL_S, _FILE_S = 0.5, 10.0  # seconds between updates


@contextmanager
def progress_bar(title: str, total_s: float, done_s: float = 0.0, *, show: bool = True) -> Iterator[tqdm[Any]]:
    """A bar over the seconds of a recording, with the time left; log messages do not tear it.

    Args:
        title: what is going on.
        total_s, done_s: seconds of the recording, in all and already done.
        show: False for silence.
    """
    interval = _TERMINAL_S if sys.stderr.isatty() else _FILE_S
    form = "{desc} {percentage:3.0f}% |{bar}| {n:.1f}/{total:.1f} s, left {remaining}{postfix}"
    bar: tqdm[Any] = tqdm(
        total=total_s, initial=done_s, desc=title, disable=not show, mininterval=interval,
        bar_format=form, dynamic_ncols=True,
    )  # fmt: skip
    with bar, logging_redirect_tqdm([logging.root]):
        yield bar
