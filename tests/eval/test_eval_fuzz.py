"""Damaged files: a few hundred of the hundred thousand that `python -m evslam.eval.bench.fuzz` feeds to the readers."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evslam.errors import EvslamError
from evslam.eval.bench import fuzz
from evslam.eval.bench.format_files import SAMPLE_FORMATS, SampleFormat, random_events, write_evt3
from evslam.io.recording import open_recording

SIGNATURES = (
    b"", b"% evt 3.0\n", b"% evt 2.0\n", b"% format EVT21;width=640\n", b"% Version 2\n\x0c\x08",
    b"#!AER-DAT2.0\r\n# AEChip: DVS128\n",
    b"#!AER-DAT4.0\r\n", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"#ROSBAG V2.0\n", b"\x89MCAP0\r\n",
    b"SQLite format 3\x00", b"t,x,y,p\n", b"# t x y p\n",
)  # fmt: skip


@pytest.mark.parametrize("kind", SAMPLE_FORMATS, ids=lambda kind: kind.name)
def test_damaged_files_are_read_or_refused(kind: SampleFormat, tmp_path: Path) -> None:
    original = fuzz.Original.of(kind, tmp_path)
    outcomes = {fuzz.check(original, seed) for seed in range(12)}
    assert outcomes <= {fuzz.READ, fuzz.READ_WITH_LOSS, fuzz.REFUSED}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SIGNATURES), st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path: Path, signature: bytes, content: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(signature + content)
    assert ";" in (refusal(path) or ";")


def refusal(path: Path) -> str | None:
    """What reading the file is refused with, None where it can be read."""
    try:
        for _ in open_recording(path).reader.read():
            pass
    except EvslamError as error:
        return str(error)
    return None


def test_findings_are_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that crashes, or gives wrong events of a cut-off file, is noticed."""
    original = fuzz.Original.of(SampleFormat("RAW EVT3", ".raw", write_evt3), tmp_path)
    wrong = fuzz.Original(original.kind, original.content, random_events(300, seed=9), original.path)
    with pytest.raises(AssertionError, match="of the cut-off file is no beginning of the original"):
        [fuzz.check(wrong, seed) for seed in range(200)]
    monkeypatch.setattr(fuzz, "open_recording", lambda path: np.zeros(1)[2])
    with pytest.raises(IndexError):
        fuzz.check(original, 1)
