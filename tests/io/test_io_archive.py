"""Zip files and numpy files: reading inside, what lies beside the events, paths that lead out, broken files."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evslam.errors import DataError
from evslam.eval.bench.format_files import random_events, write_npz, write_zip
from evslam.io import inflated
from evslam.io.archive import ArchiveReader
from evslam.io.arrays import ArraysReader
from evslam.io.inflated import ZipMember
from evslam.io.recording import open_recording
from evslam.types import Events, SensorSize

EVENTS = "0.5 1 2 1\n0.6 3 4 0\n"


def archive(folder: Path, **members: str | bytes) -> Path:
    """A zip file; double underscores in names are slashes, single ones points."""
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/").replace("_", "."), content)
    return folder / "a.zip"


def test_everything_beside_the_events_is_used(tmp_path: Path) -> None:
    events = random_events(500)
    write_zip(tmp_path / "a.zip", events)
    recording = open_recording(tmp_path / "a.zip")
    assert recording.format == "Event Camera Dataset zip"
    assert Events.concatenate(list(recording.reader.read())).t.tolist() == events.t.tolist()
    assert recording.camera is not None
    assert recording.camera.fx == 320
    assert recording.groundtruth is not None
    assert len(recording.groundtruth) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_folder_inside_and_its_first_image(tmp_path: Path) -> None:
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (346).to_bytes(4, "big") + (260).to_bytes(4, "big")
    path = archive(
        tmp_path, shapes__events_txt=EVENTS, shapes__images__frame1_png=png, shapes__images__frame2_png=b"no"
    )
    recording = open_recording(path)
    assert (recording.size, recording.size_source) == (SensorSize(260, 346), "size of images/frame1.png")
    assert sorted(file.name for file in (recording.folder / "images").iterdir()) == ["frame1.png"]


@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/etc/evil.txt", "C:\\evil.txt", "..\\evil.txt"])
def test_paths_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("events.txt", EVENTS)
        file.writestr(name, "x")
    with pytest.raises(DataError, match=r"holds the path .*evil.txt', which leads out of it; do not trust this file"):
        open_recording(tmp_path / "a.zip")
    assert [path.name for path in tmp_path.rglob("*")] == ["a.zip"]


def test_two_recordings_in_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"one events.txt is expected, there are: a/events.txt, b/events.txt; unpack it"
    ):
        ArchiveReader(archive(tmp_path, a__events_txt=EVENTS, b__events_txt=EVENTS))


def test_damaged_content_is_refused(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", random_events(5_000))
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[20_000:20_100] = b"\xff" * 100
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a.zip: events.txt is damaged after \d+ bytes|a.zip, line \d+"):
        list(open_recording(tmp_path / "a.zip").reader.read())


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 9_000)), max_size=12), st.booleans())
def test_member_reads_as_a_file_does(tmp_path: Path, steps: list[tuple[int, int]], stored: bool) -> None:
    content = np.random.default_rng(1).integers(0, 5, 64_000).astype(np.uint8).tobytes()
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as file:
        file.writestr("x", content)
        info = file.infolist()[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inflated, "STEP_BYTES", 5_000)
        patch.setattr(inflated, "READ_BYTES", 700)
        with ZipMember(tmp_path / "b.zip", info).open() as member:
            for offset, number in steps:
                member.seek(offset)
                assert member.read(number) == content[offset : offset + number]


def test_npz_of_other_names_and_seconds(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", timestamps=[0.5, 0.6], xs=[1, 3], ys=[2.0, 4.0], polarities=[1, -1], other=["text"])
    events = Events.concatenate(list(ArraysReader(tmp_path / "a.npz").read()))
    assert (events.t.tolist(), events.x.tolist(), events.p.tolist()) == ([500_000, 600_000], [1, 3], [True, False])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"t": [1], "x": [1], "y": [1]}, r"no column for p .*, there are: t, x, y; rename them"),
        ({"t": [1, 2], "x": [1], "y": [1], "p": [1]}, r"the arrays differ in length"),
        ({"t": [[1]], "x": [1], "y": [1], "p": [1]}, r"array t has shape \(1, 1\) and type int64; one dimension"),
        ({"t": np.array([{}]), "x": [1], "y": [1], "p": [1]}, r"array t has shape \(1,\) and type object"),
        ({"t": [], "x": [], "y": [], "p": []}, r"holds no whole event; give another recording"),
        ({"t": [np.nan], "x": [1], "y": [1], "p": [1]}, r"event 0: time nan is not in seconds; correct it"),
    ],
)
def test_unfit_arrays_are_refused(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        ArraysReader(tmp_path / "a.npz")


def test_npz_is_not_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path(tmp_path / "evil").touch, ())

    np.savez(tmp_path / "a.npz", t=np.array([Evil()]), x=[1], y=[1], p=[1])
    with pytest.raises(DataError, match="type object"):
        open_recording(tmp_path / "a.npz")
    assert not (tmp_path / "evil").exists()


def test_random_access_in_a_compressed_npz(tmp_path: Path) -> None:
    events = random_events(300_000)
    write_npz(tmp_path / "a.npz", events)
    reader = ArraysReader(tmp_path / "a.npz")
    start = int(events.t[280_000])
    assert Events.concatenate(list(reader.read(start))).t.tolist() == events.t[events.t >= start].tolist()
    assert reader.counts.read < 180_000
