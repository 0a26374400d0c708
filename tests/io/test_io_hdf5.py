"""evslam HDF5: round trip, random access, refused files."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from evslam.errors import DataError
from evslam.eval.bench.format_files import write_dsec
from evslam.io import hdf5, hdf5_writer
from evslam.io.hdf5 import Hdf5Reader
from evslam.io.hdf5_salvage import PaddedFile
from evslam.io.hdf5_writer import Hdf5Writer
from evslam.io.text import TextReader, write_events_text
from evslam.types import Events


def random_events(num_events: int = 5_000, jitter: int = 0) -> Events:
    rng = np.random.default_rng(5)
    t = np.sort(rng.integers(0, 2_000_000, num_events)) + rng.integers(0, jitter + 1, num_events)
    x, y = rng.integers(0, 240, num_events).astype(np.uint16), rng.integers(0, 180, num_events).astype(np.uint16)
    return Events(t, x, y, rng.integers(0, 2, num_events) > 0)


def write_raw(path: Path, **columns: Any) -> Path:
    """Writes datasets as they are given, with plain ones for the rest; None leaves one out."""
    t = columns.get("t")
    number = 2 if t is None else len(t)
    zeros = np.zeros(number, np.uint16)
    with h5py.File(path, "w") as file:
        for name, values in ({"t": np.arange(number), "x": zeros, "y": zeros, "p": zeros} | columns).items():
            if values is not None:
                file[name] = values
    return path


def whole(reader: Hdf5Reader | TextReader, *window: int) -> Events:
    return Events.concatenate(list(reader.read(*window)))


def assert_equal(events: Events, expected: Events) -> None:
    for name in "txyp":
        assert getattr(events, name).dtype == getattr(expected, name).dtype
        assert getattr(events, name).tolist() == getattr(expected, name).tolist()


def test_round_trip_in_pieces(tmp_path: Path) -> None:
    events = random_events()
    with Hdf5Writer(tmp_path / "e.h5") as writer:
        for start in range(0, 5_000, 700):
            writer.append(events[start : start + 700])
        writer.append(Events.empty())
    assert writer.num_events == 5_000
    reader = Hdf5Reader(tmp_path / "e.h5")
    assert_equal(whole(reader), events)
    assert (reader.num_events, reader.counts.read) == (5_000, 5_000)
    assert (reader.t_first_us, reader.t_last_us) == (events.t[0], events.t[-1])
    with h5py.File(tmp_path / "e.h5") as file:
        assert {name: str(file[name].dtype) for name in file} == {
            "t": "int64",
            "x": "uint16",
            "y": "uint16",
            "p": "uint8",
        }


def test_text_and_hdf5_of_the_same_events_are_equal(tmp_path: Path) -> None:
    events = random_events()
    write_events_text(tmp_path / "e.txt", [events])
    with Hdf5Writer(tmp_path / "e.h5") as writer:
        writer.append(events)
    pairs = zip(
        TextReader(tmp_path / "e.txt").read(300_000, 1_500_000, 999),
        Hdf5Reader(tmp_path / "e.h5").read(300_000, 1_500_000, 999),
        strict=True,
    )
    for from_text, from_hdf5 in pairs:
        assert_equal(from_text, from_hdf5)


@pytest.mark.parametrize(
    "window", [(0, 1), (700_000, 700_001), (123_456, 1_500_000), (1_990_000, 9_999_999), (5_000_000, 5_000_001)]
)
def test_random_access_equals_slicing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: tuple[int, int]) -> None:
    monkeypatch.setattr(hdf5, "BLOCK_EVENTS", 64)
    events = random_events(jitter=9_000)
    path = write_raw(tmp_path / "e.h5", **{name: getattr(events, name) for name in "txyp"})
    order = np.argsort(events.t, kind="stable")
    events = Events(*(getattr(events, name)[order] for name in "txyp"))
    inside = (events.t >= window[0]) & (events.t < window[1])
    reader = Hdf5Reader(path)
    assert_equal(whole(reader, *window), Events(*(getattr(events, name)[inside] for name in "txyp")))
    assert reader.counts.read < inside.sum() + 300


@pytest.mark.parametrize("piece", [1, 63, 64, 65, 400])
def test_writing_in_any_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(hdf5_writer, "BLOCK_EVENTS", 64)
    events = random_events(400)
    with Hdf5Writer(tmp_path / "e.h5") as writer:
        for start in range(0, 400, piece):
            writer.append(events[start : start + piece])
    assert_equal(whole(Hdf5Reader(tmp_path / "e.h5")), events)


def test_block_reading_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "BLOCK_EVENTS", 100)
    path = write_raw(tmp_path / "e.h5", t=np.arange(0, 10_000_000, 10_000))
    reader = Hdf5Reader(path)
    stream = reader.read(chunk=50)
    assert len(next(stream)) == 50
    assert reader.counts.read == 100


def test_polarity_of_minus_one_and_bool(tmp_path: Path) -> None:
    reader = Hdf5Reader(write_raw(tmp_path / "a.h5", t=[1, 2], p=np.array([-1, 1], np.int8)))
    assert whole(reader).p.tolist() == [False, True]
    assert reader.counts.negative_polarity == 1
    assert whole(Hdf5Reader(write_raw(tmp_path / "b.h5", t=[1, 2], p=np.array([False, True])))).p.tolist() == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("columns", "fact", "remedy"),
    [
        (
            {"t": np.array([0.1, 0.2])},
            "t has type float64, seconds where microseconds are expected",
            "multiply t by 1e6",
        ),
        ({"t": np.arange(3_000) // 1_500}, "3000 events within 2 us, so t holds seconds", "multiply t by 1e6"),
        ({"t": np.array([0, 10**18])}, "t reaches 1000000000000000000, so it holds nanoseconds", "divide t by 1000"),
        ({"t": np.arange(3), "x": np.zeros(2, "u2")}, "differ in length (t 3, x 2, y 3, p 3)", "write the file again"),
        ({"t": np.arange(2), "x": np.zeros(2)}, "x has type float64", "convert it to uint16"),
        ({"t": np.zeros((2, 2), int)}, "t has type int64 and shape (2, 2)", "convert it to int64"),
        ({"t": np.empty(0, int)}, "holds no events", "give another recording"),
        ({"p": None}, "datasets t, x, y, p are expected, there are: t, x, y", "convert it"),
        ({"t": None, "events/t": [1]}, "there are: events/t, p, x, y", "convert it"),
    ],
)
def test_unfit_datasets_are_refused(tmp_path: Path, columns: dict[str, Any], fact: str, remedy: str) -> None:
    path = write_raw(tmp_path / "e.h5", **columns)
    with pytest.raises(DataError) as caught:
        Hdf5Reader(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert fact in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"t": [5, -7, 6]}, "event 1: time -7 us is negative; shift"),
        ({"t": [5, 60_000, 6]}, "event 2: time goes back from 60000 us to 6 us.*sort"),
        ({"t": [5, 6, 7], "p": [0, 1, 3]}, "event 2: polarity 3 is not 0, 1 or -1; map"),
    ],
)
def test_unfit_events_are_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"e.h5, {message}"):
        whole(Hdf5Reader(write_raw(tmp_path / "e.h5", **columns)))


def test_truncated_file_without_a_whole_event_is_refused(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "e.h5", t=np.arange(5_000))
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(DataError, match=r"e.h5: .*cut off.*; copy it again"):
        Hdf5Reader(path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_file_gives_its_whole_events(share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_writer, "BLOCK_EVENTS", 1 << 9)
    events = random_events(20_000)
    with Hdf5Writer(tmp_path / "e.h5") as writer:
        for start in range(0, 20_000, 500):
            writer.append(events[start : start + 500])
    content = (tmp_path / "e.h5").read_bytes()
    (tmp_path / "e.h5").write_bytes(content[: round(share * len(content))])
    reader = Hdf5Reader(tmp_path / "e.h5")
    found = whole(reader)
    assert 0.5 * share * 20_000 < len(found) < 20_000
    assert_equal(found, events[: len(found)])
    assert reader.t_last_us == found.t[-1]
    assert reader.counts.truncated_bytes == len(content) - round(share * len(content))


def test_lost_offset_is_not_taken_for_none(tmp_path: Path) -> None:
    """A dataset that would be read as zeros because it stood in the missing end."""
    write_dsec(tmp_path / "e.h5", random_events(3_000))
    with h5py.File(tmp_path / "e.h5", "a") as file:
        del file["t_offset"]
        file["z"] = np.zeros(100_000)
        file["t_offset"] = np.int64(5)
    content = (tmp_path / "e.h5").read_bytes()
    (tmp_path / "e.h5").write_bytes(content[:-700_000])
    with pytest.raises(DataError, match=r"t_offset|cut off"):
        Hdf5Reader(tmp_path / "e.h5")


def test_damaged_chunk_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.h5"
    with Hdf5Writer(path) as writer:
        writer.append(random_events(200_000))
    with h5py.File(path) as file:
        info = file["x"].id.get_chunk_info(1)
    content = bytearray(path.read_bytes())
    content[info.byte_offset : info.byte_offset + info.size] = b"\xff" * info.size
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"e.h5: dataset x cannot be read at events 131072 to .*; copy or convert it again"
    ):
        whole(Hdf5Reader(path))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"e.h5: no such file; check the path"):
        Hdf5Reader(tmp_path / "e.h5")


def test_writer_refuses_what_it_must(tmp_path: Path) -> None:
    with Hdf5Writer(tmp_path / "e.h5") as writer:
        writer.append(random_events())
        with pytest.raises(DataError, match=r"e.h5: events to be written go back in time near 0 us; sort"):
            writer.append(Events(np.array([0]), np.zeros(1, "u2"), np.zeros(1, "u2"), np.zeros(1, bool)))
    with pytest.raises(DataError, match=r"e.h5: exists already; choose another"):
        Hdf5Writer(tmp_path / "e.h5")
    with pytest.raises(DataError, match=r"e.h5: cannot be written"):
        Hdf5Writer(tmp_path / "missing" / "e.h5")


def write_half(path: Path) -> None:
    with Hdf5Writer(path) as writer:
        writer.append(random_events())
        raise KeyboardInterrupt


def test_interrupted_writing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "e.h5")
    assert list(tmp_path.iterdir()) == []


def test_damaged_length_is_not_padded_with_gigabytes(tmp_path: Path) -> None:
    (tmp_path / "e.h5").write_bytes(bytes(100))
    file = PaddedFile(tmp_path / "e.h5", 1 << 40)
    assert file.read(200) == bytes(200)
    with pytest.raises(OSError, match=r"bytes are asked for at byte 200 of 100"):
        file.read(1 << 25)


def test_every_cut_is_a_beginning_or_refused(tmp_path: Path) -> None:
    """Also where the index of a dataset is lost, which is read as zeros."""
    events = random_events(300)
    with Hdf5Writer(tmp_path / "whole.h5") as writer:
        writer.append(events)
    content = (tmp_path / "whole.h5").read_bytes()
    for stop in range(len(content) - 4_000, len(content), 61):
        (tmp_path / "e.h5").write_bytes(content[:stop])
        try:
            found = whole(Hdf5Reader(tmp_path / "e.h5"))
        except DataError:
            continue
        assert_equal(found, events[: len(found)])
