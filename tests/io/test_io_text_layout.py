"""Columns of text files: by meta.yaml, by header, by their values."""

from pathlib import Path

import pytest

from evslam.errors import DataError
from evslam.io.recording import open_recording
from evslam.io.text import TextReader
from evslam.io.text_layout import find_layout
from evslam.types import Events, SensorSize

Row = tuple[int, int, int, int]
EXPECTED: list[Row] = [(1_500_000, 30, 40, 1), (1_500_250, 31, 41, 0)]


def rows(path: Path) -> list[Row]:
    events = Events.concatenate(list(TextReader(path).read()))
    return list(zip(*(getattr(events, name).astype(int).tolist() for name in "txyp"), strict=True))


def make(folder: Path, text: str, name: str = "events.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(
    "text",
    [
        "timestamp,x,y,polarity\n1.5,30,40,1\n1.50025,31,41,0\n",
        "t[s] x y p\n1.5 30 40 1\n1.50025 31 41 0\n",
        "# t[us]; polarity; y; x\n1500000; 1; 40; 30\n1500250; 0; 41; 31\n",
        "time_ns,col,row,on,frame\n1500000000,30,40,1,left\n1500250400,31,41,0,left\n",
        "id,t_ms,x,y,p\nA,1500,30,40,1\nB,1500.25,31,41,0\n",
        "%geometry:640,480\n30,40,1,1500000\n31,41,0,1500250\n",
        "30,40,1,1.5\n31,41,0,1.50025\n",
        "1500000,30,40,1\n1500250,31,41,0\n",
        "1.5,30,40,1\n1.50025,31,41,0\n",
        "1,30,40,1500000\n0,31,41,1500250\n",
    ],
)
def test_columns_are_found(text: str, tmp_path: Path) -> None:
    assert rows(make(tmp_path, text)) == EXPECTED


def test_geometry_comment_states_the_size(tmp_path: Path) -> None:
    recording = open_recording(make(tmp_path, "%geometry:640,480\n30,40,1,1500000\n31,41,0,1500250\n"))
    assert (recording.format, recording.size) == ("CSV", SensorSize(480, 640))


@pytest.mark.parametrize("unit", ["ns", "us", "ms", "s"])
def test_meta_yaml_names_columns_and_unit(unit: str, tmp_path: Path) -> None:
    per_second = {"ns": 10**9, "us": 10**6, "ms": 10**3, "s": 1}[unit]
    make(tmp_path, f"columns: [y, x, note, p, t]\ntime_unit: {unit}\n", "meta.yaml")
    path = make(tmp_path, f"40 30 a 1 {3 * per_second}\n41 31 b 0 {4 * per_second}\n", "events.txt")
    assert rows(path) == [(3_000_000, 30, 40, 1), (4_000_000, 31, 41, 0)]
    assert open_recording(tmp_path).format == "CSV"


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ("columns: [x, y, t]", r"columns is \['x', 'y', 't'\]; name each of t, x, y, p once"),
        ("columns: [x, y, p, t]\ntime_unit: min", r"time_unit is 'min'; expected is s, ms, us or ns"),
    ],
)
def test_unfit_meta_yaml_is_refused(meta: str, message: str, tmp_path: Path) -> None:
    make(tmp_path, meta, "meta.yaml")
    with pytest.raises(DataError, match=rf"meta.yaml: {message}"):
        TextReader(make(tmp_path, "1,2,3,4\n"))


@pytest.mark.parametrize("text", ["1,1,1,1\n", "5,6,7,8\n", "1,2,3\n", "a,b,c,d\n1,2,3,4\n"])
def test_order_that_cannot_be_told_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"events.csv: the order of its columns cannot be told; write it into meta.yaml"
    ):
        TextReader(make(tmp_path, text))


def test_faulty_line_is_named_in_its_own_terms(tmp_path: Path) -> None:
    path = make(tmp_path, "timestamp,x,y,polarity\n1.5,30,40,1\n1.6,31,41\n1.7,30,40,1\n")
    with pytest.raises(
        DataError, match=r'line 3: 3 columns where 4 are expected, "t\[s\] x y p": \'1.6,31,41\'; correct'
    ):
        rows(path)


def test_other_csv_files_of_a_folder_are_not_events(tmp_path: Path) -> None:
    make(tmp_path, "timestamp,qx,qy,qz,qw\n1,0,0,0,1\n", "groundtruth.csv")
    with pytest.raises(DataError, match="no recording here"):
        open_recording(tmp_path)
    make(tmp_path, "x,y,p,t_us\n30,40,1,1500000\n31,41,0,1500250\n")
    assert open_recording(tmp_path).format == "CSV"


def test_spaces_alone_mean_the_event_camera_dataset(tmp_path: Path) -> None:
    assert find_layout(make(tmp_path, "# comment\n1.5 30 40 1\n")).is_assumed
