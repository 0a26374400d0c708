"""AEDAT 4: inertial samples and frames inside, damaged packets, unfit headers."""

import logging
from pathlib import Path

import numpy as np
import pytest

from evslam.errors import DataError
from evslam.eval.bench.aedat4_files import EVENTS_IN_PACKET, write_aedat4
from evslam.eval.bench.format_files import random_events
from evslam.io.aedat4 import SIGNATURE, Aedat4Reader
from evslam.io.reader import Frame
from evslam.types import Events, Imu


def test_imu_and_frames_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    imu = Imu(np.arange(3) * 1000 + 7, rng.normal(size=(3, 3)), rng.normal(size=(3, 3)))
    image = rng.integers(0, 256, (4, 6)).astype(np.uint8)
    write_aedat4(tmp_path / "a.aedat4", random_events(10), imu=imu, frames=(Frame(99, image),))
    reader = Aedat4Reader(tmp_path / "a.aedat4")
    found = reader.imu()
    assert found is not None
    assert found.t_us.tolist() == [7, 1007, 2007]
    np.testing.assert_allclose(found.acceleration, imu.acceleration, rtol=1e-6)
    np.testing.assert_allclose(found.gyro, imu.gyro, rtol=1e-6)
    (frame,) = reader.frames()
    assert frame.t_us == 99
    np.testing.assert_array_equal(frame.image, image)


def test_without_imu_and_frames(tmp_path: Path) -> None:
    write_aedat4(tmp_path / "a.aedat4", random_events(10))
    reader = Aedat4Reader(tmp_path / "a.aedat4")
    assert reader.imu() is None
    assert list(reader.frames()) == []


def test_damaged_packet_is_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    events = random_events(3 * EVENTS_IN_PACKET)
    path = tmp_path / "a.aedat4"
    write_aedat4(path, events)
    middle = Aedat4Reader(path)._packets[0][1]
    content = bytearray(path.read_bytes())
    content[middle.offset : middle.offset + 4] = b"oops"
    path.write_bytes(content)
    reader = Aedat4Reader(path)
    with caplog.at_level(logging.WARNING):
        found = Events.concatenate(list(reader.read()))
    kept = np.r_[0:EVENTS_IN_PACKET, 2 * EVENTS_IN_PACKET : 3 * EVENTS_IN_PACKET]
    assert found.t.tolist() == events.t[kept].tolist()
    assert reader.counts.damaged_bytes == middle.num_bytes
    assert f"byte {middle.offset}: packet skipped (decompression failed" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"IOHE", b"OOPS", r"header: cannot be read \(identifier b'OOPS'.*; copy the file again"),
        (b"EVTS<", b"TRIG<", r"header: no stream of events \(EVTS\); give another recording"),
        (b"<dv ", b"<!! ", r"header: its XML declares entities"),
        (b"</dv>", b"</vd>", r"header: not valid XML \(.*\); copy the file again"),
    ],
)
def test_unfit_headers_are_refused(old: bytes, new: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.aedat4"
    write_aedat4(path, random_events(10))
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(DataError, match=rf"a.aedat4, {message}"):
        Aedat4Reader(path)


def test_signature_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.aedat4").write_bytes(SIGNATURE)
    with pytest.raises(DataError, match="header: cannot be read"):
        Aedat4Reader(tmp_path / "a.aedat4")


def test_no_events_is_refused(tmp_path: Path) -> None:
    write_aedat4(tmp_path / "a.aedat4", random_events(0))
    with pytest.raises(DataError, match=r"holds no events that can be decoded \(0 packets, 0 bytes cut off\)"):
        Aedat4Reader(tmp_path / "a.aedat4")
