"""Speed and memory of every reader: python -m evslam.eval.bench.formats [--events 1000000] [--data FOLDER].

Each format is written once with random events, then read and converted in a process of its own. --data names a folder
with formats/ as in tests/io/test_io_format_samples.py: its recordings of real cameras are measured too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from evslam.eval.bench.format_files import SAMPLE_FORMATS
from evslam.io.convert import copy_events
from evslam.io.recording import open_recording

MEGA = 1e6
WRITTEN = "files written from the specification"
VERIFIED = {
    "evslam HDF5": "round trip, checksums read back",
    "ECD text": "recordings of the Event Camera Dataset, HDF5 of the same events",
    "ECD zip": "the same events as text",
    "npz": "files written by numpy",
    "npy": "files written by numpy",
    "RAW EVT2": "Gen3 recording decoded by faery and expelliarmus; plain decoder",
    "RAW EVT21": f"plain decoder; {WRITTEN}",
    "RAW EVT21 legacy": f"plain decoder; {WRITTEN}",
    "RAW EVT3": "Gen4.1 recording decoded by faery (1455 times differ by up to 11 us); plain decoder",
    "DAT": "N-Cars recording decoded by expelliarmus",
    "AEDAT4": "DAVIS346 and DVXplorer recordings decoded by dv-processing and faery",
    "AEDAT4 zstd": f"the LZ4 form; {WRITTEN}",
    "AEDAT4 plain": f"the LZ4 form; {WRITTEN}",
    "ROS 1 event_camera_msgs": "evt3 recording in two containers, its words decoded by faery; bags written by rosbags",
    "ROS 2 event_camera_msgs": "evt3 recording in two containers, its words decoded by faery; bags written by rosbags",
    "ROS 1 dvs_msgs": "bags written by rosbags",
    "ROS 2 dvs_msgs": "bags written by rosbags",
    "ROS 2 prophesee_event_msgs": "bags written by rosbags",
}
SAMPLES = (
    "evt2_640x480.raw", "evt3_1280x720.raw", "ncars.dat", "davis346.aedat4", "dvxplorer.aedat4",
    "ros_event_packet/test_events_1.bag", "ros_event_packet/test_events_1", "ros_event_packet/test_events_2",
)  # fmt: skip


def measure(path: Path, warm_up: Path, folder: Path) -> dict[str, float]:
    """Reads and converts a recording in this process; peak memory is that above what the process had before."""
    for chunk in open_recording(warm_up).reader.read():  # imports and compiles
        del chunk
    copy_events(open_recording(warm_up).reader, folder / "warm_up.h5")
    (folder / "warm_up.h5").unlink()
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of imports and compilation
    before = _memory("VmRSS")
    start = time.perf_counter()
    reader = open_recording(path).reader
    num_events = sum(len(events) for events in reader.read())
    read = time.perf_counter() - start
    after = _memory("VmHWM")
    start, start_cpu = time.perf_counter(), time.process_time()
    copy_events(open_recording(path).reader, folder / "converted.h5")
    convert, convert_cpu = time.perf_counter() - start, time.process_time() - start_cpu
    (folder / "converted.h5").unlink()
    size = path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.iterdir())
    return {
        "events read": num_events,
        "MB": round(size / MEGA, 1),
        "MB/s": round(size / MEGA / read, 1),
        "million events/s": round(num_events / MEGA / read, 2),
        "converted, million events/s": round(num_events / MEGA / convert, 2),
        "converted, million events/CPU s": round(num_events / MEGA / convert_cpu, 2),
        "peak memory [MB]": round((after - before) / 1024),
    }


def _memory(name: str) -> int:
    """A figure of this process in kilobytes, as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _in_process(path: Path, warm_up: Path, folder: Path) -> dict[str, float]:
    """`measure` in a fresh process."""
    command = [sys.executable, "-m", "evslam.eval.bench.formats", "--measure", str(path), str(warm_up), str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Prints a table of formats."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="events in each file (default: 1000000)")
    parser.add_argument("--formats", nargs="*", default=[kind.name for kind in SAMPLE_FORMATS])
    parser.add_argument("--data", type=Path, help="folder with formats/")
    parser.add_argument("--measure", type=Path, nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return
    rows = []
    for kind in SAMPLE_FORMATS:
        if kind.name in arguments.formats:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                (folder / "small").mkdir()
                kind.write(kind.file(folder / "small"), kind.events(1_000))
                kind.write(kind.file(folder), kind.events(arguments.events))
                figures = _in_process(kind.file(folder), kind.file(folder / "small"), folder)
            rows.append({"format": kind.name} | figures | {"verified against": VERIFIED.get(kind.name, WRITTEN)})
    for sample in SAMPLES if arguments.data else ():
        path = arguments.data / "formats" / sample
        with tempfile.TemporaryDirectory() as name:
            figures = _in_process(path, path, Path(name))
        rows.append({"format": f"recording {sample}"} | figures | {"verified against": "see its format"})
    print(pd.DataFrame(rows).to_markdown(index=False))


if __name__ == "__main__":
    main()
