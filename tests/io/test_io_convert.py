"""Converting: interruption and going on, progress, every format, lost events in the report."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest

from evslam.errors import DataError
from evslam.eval.bench.format_files import SAMPLE_FORMATS, SampleFormat, random_events, write_evt3, write_text
from evslam.io import hdf5_writer
from evslam.io.convert import convert_recording, copy_events
from evslam.io.hdf5 import Hdf5Reader
from evslam.io.reader import EventReader
from evslam.io.recording import open_recording
from evslam.types import Events


@pytest.mark.parametrize("kind", SAMPLE_FORMATS, ids=lambda kind: kind.name)
def test_every_format_becomes_the_same_events(kind: SampleFormat, tmp_path: Path) -> None:
    events = kind.events(2_000)
    path = kind.file(tmp_path)
    kind.write(path, events)
    assert convert_recording(open_recording(path), tmp_path / "out.h5") == 2_000
    found = Events.concatenate(list(Hdf5Reader(tmp_path / "out.h5").read()))
    for name in "txyp":
        assert getattr(found, name).tolist() == getattr(events, name).tolist()


class _Interrupted:
    """A reader that is interrupted after some chunks."""

    def __init__(self, reader: EventReader, num_chunks: int, error: type[BaseException]) -> None:
        self.reader, self.num_chunks, self.error = reader, num_chunks, error

    def __getattr__(self, name: str) -> object:
        return getattr(self.reader, name)

    def read(self, start_us: int | None = None) -> Iterator[Events]:
        for number, events in enumerate(self.reader.read(start_us, chunk=1_000)):
            if number == self.num_chunks:
                raise self.error
            yield events


def interrupt(source: Path, out: Path, num_chunks: int, error: type[BaseException] = KeyboardInterrupt) -> None:
    reader = open_recording(source).reader
    named = type(type(reader).__name__, (_Interrupted,), {})  # a part file belongs to a kind of reader
    with pytest.raises(error):
        copy_events(named(reader, num_chunks, error), out)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("rate", [1e6, 5e8])
def test_interrupted_copy_goes_on(
    error: type[BaseException], rate: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the higher rate hundreds of events share a time, so that a copy stops in their midst."""
    monkeypatch.setattr(hdf5_writer, "BLOCK_EVENTS", 1 << 9)
    events = random_events(20_000, rate=rate)
    source, out = tmp_path / "a.txt", tmp_path / "out.h5"
    write_text(source, events)
    interrupt(source, out, 5, error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "out.h5.part"]
    interrupt(source, out, 4, error)
    with h5py.File(tmp_path / "out.h5.part") as file:
        assert 5_000 < len(file["t"]) < 10_000
    reports: list[float] = []
    reader = open_recording(source).reader
    assert copy_events(reader, out, reports.append) == 20_000
    found = Events.concatenate(list(Hdf5Reader(out).read()))
    for name in "txyp":
        assert getattr(found, name).tolist() == getattr(events, name).tolist()
    assert sum(reports) == pytest.approx(2e-6 * int(events.t[-1] - events.t[0]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "out.h5"]
    with h5py.File(out) as file:
        assert dict(file.attrs) == {}


def test_part_of_another_source_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_writer, "BLOCK_EVENTS", 1 << 9)
    write_text(tmp_path / "a.txt", random_events(5_000, seed=1))
    interrupt(tmp_path / "a.txt", tmp_path / "out.h5", 3)
    write_text(tmp_path / "a.txt", random_events(4_000, seed=2))
    assert copy_events(open_recording(tmp_path / "a.txt").reader, tmp_path / "out.h5") == 4_000


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"noise"])
def test_broken_part_is_not_used(content: bytes, tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", random_events(100))
    (tmp_path / "out.h5.part").write_bytes(content)
    assert copy_events(open_recording(tmp_path / "a.txt").reader, tmp_path / "out.h5") == 100


def test_checkpoints_survive_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process that was killed leaves behind: a copy of the file as it was on the disk after a checkpoint."""
    monkeypatch.setattr(hdf5_writer, "BLOCK_EVENTS", 1 << 9)
    monkeypatch.setattr(hdf5_writer, "CHECKPOINT_EVENTS", 1 << 11)
    events = random_events(9_000)
    write_text(tmp_path / "a.txt", events)
    reader = open_recording(tmp_path / "a.txt").reader
    kept: list[bytes] = []

    def keep(seconds: float) -> None:
        if (tmp_path / "out.h5.part").exists():
            kept.append((tmp_path / "out.h5.part").read_bytes())

    monkeypatch.setattr(
        type(reader), "read", lambda self, start_us=None: iter([events[a : a + 500] for a in range(0, 9_000, 500)])
    )
    copy_events(reader, tmp_path / "out.h5", keep)
    monkeypatch.undo()
    (tmp_path / "out.h5").unlink()
    (tmp_path / "out.h5.part").write_bytes(kept[10])
    assert copy_events(open_recording(tmp_path / "a.txt").reader, tmp_path / "out.h5") == 9_000


def test_folder_gets_everything_and_is_not_overwritten(tmp_path: Path) -> None:
    write_evt3(tmp_path / "a.raw", random_events(500))
    (tmp_path / "calib.txt").write_text("320 320 320 240")
    assert convert_recording(open_recording(tmp_path / "a.raw"), tmp_path / "out") == 500
    again = open_recording(tmp_path / "out")
    assert again.camera is not None
    assert again.size == open_recording(tmp_path / "a.raw").size
    with pytest.raises(DataError, match=r"out: holds events.h5, calib.txt, meta.yaml already"):
        convert_recording(open_recording(tmp_path / "a.raw"), tmp_path / "out")


def test_unfit_companion_is_said_before_the_events_are_copied(tmp_path: Path) -> None:
    write_evt3(tmp_path / "a.raw", random_events(500))
    (tmp_path / "imu.txt").write_text("oops")
    with pytest.raises(DataError, match=r"imu.txt, line 1"):
        convert_recording(open_recording(tmp_path / "a.raw"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
