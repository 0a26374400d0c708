"""AEDAT 2: the specification's corners and bits, headers, overflow of the clock."""

from pathlib import Path

import numpy as np
import pytest

from evslam.errors import DataError
from evslam.io.aedat2 import Aedat2Reader
from evslam.types import Events, SensorSize


def make(folder: Path, header: str, *rows: tuple[int, int]) -> Path:
    path = folder / "a.aedat"
    path.write_bytes(b"#!AER-DAT2.0\r\n" + header.encode() + np.array(rows, ">u4").tobytes())
    return path


def read(path: Path) -> list[tuple[int, int, int, int]]:
    events = Events.concatenate(list(Aedat2Reader(path).read()))
    return list(zip(*(getattr(events, name).astype(int).tolist() for name in "txyp"), strict=True))


def test_davis_lower_left_is_the_origin(tmp_path: Path) -> None:
    frame_sample, external = (1 << 31 | 5 << 22, 11), (1 << 10, 12)
    path = make(
        tmp_path, "# AEChip: Davis346\r\n", (0, 10), frame_sample, external, (259 << 22 | 345 << 12 | 1 << 11, 13)
    )
    assert read(path) == [(10, 0, 259, 0), (13, 345, 0, 1)]
    assert Aedat2Reader(path).sensor_size == SensorSize(260, 346)


def test_dvs128(tmp_path: Path) -> None:
    header = "# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n#End Of ASCII Header\r\n"
    path = make(tmp_path, header, (2 << 8 | 3 << 1 | 1, 10), (1 << 15, 11), (127 << 8, 12))
    assert read(path) == [(10, 3, 125, 1), (12, 0, 0, 0)]


def test_header_ends_where_data_begin(tmp_path: Path) -> None:
    """The first byte of an address may be a hash sign."""
    address = ord("#") << 24 | 1 << 22
    path = make(tmp_path, "# HardwareInterface: DAVIS240C 001\r\n", (address, 10), (address, 11))
    assert [row[0] for row in read(path)] == [10, 11]


def test_clock_goes_on_after_overflow(tmp_path: Path) -> None:
    path = make(tmp_path, "# AEChip: Davis240C\n", (0, 0xFFFFFFF0), (0, 0x10))
    assert [row[0] for row in read(path)] == [0xFFFFFFF0, 0x100000010]


def test_unknown_chip_and_no_events_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r'header: names no known chip \(AEChip: Cochlea\); add a line "# AEChip: Davis346"'
    ):
        Aedat2Reader(make(tmp_path, "# AEChip: Cochlea\r\n", (0, 1)))
    with pytest.raises(DataError, match=r"holds no events after its header of \d+ bytes; record it again"):
        Aedat2Reader(make(tmp_path, "# AEChip: DVS128\r\n", (1 << 15, 1)))
