"""Compiled kernels on disk. numba notices when the file of a kernel changes, but not when one changes whose functions
the kernel takes over: after an update in place (`git pull`) it would go on with code of both versions."""

from __future__ import annotations

import logging
import math
from pathlib import Path

log = logging.getLogger(__name__)


def forget_stale_kernels(folder: Path = Path(__file__).parent) -> int:
    """Remove the indices of compiled kernels that are older than any source with kernels; they are compiled anew.

    Args:
        folder: of the sources; numba keeps what it compiles in `__pycache__` beside each.

    Returns:
        How many were removed.
    """
    compiled = {index: index.stat().st_mtime for index in folder.rglob("*.nbi")}
    oldest = min(compiled.values(), default=math.inf)
    changed = [source for source in folder.rglob("*.py") if source.stat().st_mtime > oldest]
    kernels = (source for source in changed if "njit" in source.read_text(encoding="utf-8"))
    newest = max((source.stat().st_mtime for source in kernels), default=0.0)
    stale = [index for index, made in compiled.items() if made < newest]
    try:
        for index in stale:
            index.unlink(missing_ok=True)
    except PermissionError as error:
        log.warning("kernels compiled from older sources cannot be removed (%s): delete *.nbi in %s", error, folder)
        return 0
    return len(stale)
