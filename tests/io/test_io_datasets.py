"""The registry of public datasets: a miniature of each layout is built, recognised, and its files are found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from pose_files import hand_held, m3ed, mvsec, text
from test_io_calibration_forms import CAMERA_INFO, DSEC, KALIBR, basalt

from evslam.errors import ConfigError, DataError
from evslam.io.companions import companions_of
from evslam.io.datasets import Match, find_dataset, read_layouts, registry
from evslam.io.groundtruth import load_groundtruth
from evslam.io.hdf5_writer import Hdf5Writer
from evslam.io.recording import open_recording
from evslam.io.text import write_events_text
from evslam.io.transforms import compose, invert, parse_transform
from evslam.types import Events, SensorSize, Trajectory

TRUTH = hand_held()
CALIB_TXT = "199.09 198.82 132.19 110.71 -0.36 0.15 -0.0003 -0.0007 0.0"
T_CAM_IMU = "[[0, -1, 0, 0.01], [1, 0, 0, 0.02], [0, 0, 1, 0.03], [0, 0, 0, 1]]"
MOCAP = {"px": 0.1, "py": 0.2, "pz": 0.3, "qx": 0.0, "qy": 0.6, "qz": 0.0, "qw": 0.8}
CAMERA = {"px": 0.0, "py": 0.05, "pz": 0.0, "qx": 0.6, "qy": 0.0, "qz": 0.0, "qw": 0.8}


def events(width: int = 240, height: int = 180) -> Events:
    rng = np.random.default_rng(3)
    t = np.sort(rng.integers(1_000_000, 4_000_000, 2000))
    x, y = (rng.integers(0, limit, 2000).astype(np.uint16) for limit in (width, height))
    return Events(t, x, y, rng.integers(0, 2, 2000) > 0)


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def text_events(folder: Path, width: int, height: int) -> Path:
    folder.mkdir(parents=True)
    write_events_text(folder / "events.txt", [events(width, height)])
    return folder


def foreign_hdf5(path: Path, **datasets: np.ndarray) -> Path:
    """Events in an HDF5 form of a dataset."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return path


def grouped(path: Path) -> Path:
    """DSEC's, TUM-VIE's and VECtor's form."""
    few = events(640, 480)
    columns = {f"events__{name}": getattr(few, name).astype(np.uint32) for name in "xyp"}
    return foreign_hdf5(path, **columns, events__t=few.t - 1_000_000, t_offset=np.int64(1_000_000))


def body_poses(T_body_cam: np.ndarray, scale: float = 1e-6, header: str = "") -> str:
    """Text of the body's poses whose camera moves along TRUTH."""
    return text(Trajectory(TRUTH.t_us, compose(TRUTH.poses, invert(T_body_cam))), scale, header=header)


def ecd(root: Path) -> Path:
    folder = text_events(root / "boxes_6dof", 240, 180)
    write(folder / "calib.txt", CALIB_TXT)
    write(folder / "groundtruth.txt", text(TRUTH))
    write(folder / "imu.txt", "1 0 0 9.8 0 0 0\n2 0 0 9.8 0 0 0\n")
    return folder


def uzh_fpv(root: Path) -> Path:
    folder = text_events(root / "indoor_forward_3_davis_with_gt", 346, 260)
    chain = KALIBR.replace("cam1:", f"  T_cam_imu: {T_CAM_IMU}\ncam1:")
    write(root / "indoor_forward_calib_davis" / "camchain-imucam-indoor_forward_calib_davis_imu.yaml", chain)
    T_imu_cam = parse_transform("inverse 0 -1 0 0.01 1 0 0 0.02 0 0 1 0.03")
    write(folder / "groundtruth.txt", body_poses(T_imu_cam, header="# timestamp tx ty tz qx qy qz qw"))
    write(folder / "imu.txt", "# id timestamp wx wy wz ax ay az\n0 1 0 0 0 0 0 9.8\n")
    return folder


def eds(root: Path) -> Path:
    folder = root / "00_peanuts_dark"
    folder.mkdir(parents=True)
    with Hdf5Writer(folder / "events.h5") as writer:
        writer.append(events(640, 480))
    write(folder / "images_timestamps.txt", "1000000\n")
    write(folder / "stamped_groundtruth.txt", text(TRUTH, header="#timestamp px py pz qx qy qz qw"))
    write(root / "calib.yaml", KALIBR.replace("346, 260", "640, 480"))
    return folder


def dsec(root: Path) -> Path:
    grouped(root / "interlaken_00_c" / "events" / "left" / "events.h5")
    write(root / "interlaken_00_c" / "calibration" / "cam_to_cam.yaml", DSEC)
    return root / "interlaken_00_c"


def dsec_unzipped(root: Path) -> Path:
    grouped(root / "interlaken_00_c_events_left" / "events.h5")
    write(root / "interlaken_00_c_calibration" / "cam_to_cam.yaml", DSEC)
    return root / "interlaken_00_c_events_left"


def tum_vie(root: Path, name: str = "mocap-desk2", letter: str = "A") -> Path:
    folder = root / name
    grouped(folder / f"{name}-events_left.h5")
    rig = basalt()
    rig["value0"]["T_imu_cam"] = [MOCAP, MOCAP, CAMERA, CAMERA]
    write(root / f"camera-calibration{letter}.json", json.dumps(rig))
    write(root / f"mocap-imu-calibration{letter}.json", json.dumps({"value0": {"T_imu_marker": MOCAP}}))
    T_imu_marker = parse_transform(" ".join(str(value) for value in MOCAP.values()))
    T_imu_cam = parse_transform(" ".join(str(value) for value in CAMERA.values()))
    T_marker_cam = compose(invert(T_imu_marker), T_imu_cam)[0]
    write(folder / "mocap_data.txt", body_poses(T_marker_cam, 1, "# timestamp[us] px py pz qx qy qz qw"))
    return folder


def tum_vie_b(root: Path) -> Path:
    return tum_vie(root, "bike-easy", "B")


def mvsec_folder(root: Path) -> Path:
    folder = root / "indoor_flying"
    few = events(346, 260)
    rows = np.stack([few.x, few.y, few.t * 1e-6, 2.0 * few.p - 1], 1)
    foreign_hdf5(folder / "indoor_flying1_data.hdf5", davis__left__events=rows)
    mvsec(folder / "indoor_flying1_gt.hdf5", TRUTH)
    write(folder / "indoor_flying_calib" / "camchain-imucam-indoor_flying.yaml", KALIBR)
    return folder


def m3ed_folder(root: Path) -> Path:
    few, name = events(1280, 720), "car_urban_day_horse"
    columns = {f"prophesee__left__{key}": getattr(few, key).astype(np.int64) for key in "txyp"}
    path = foreign_hdf5(root / name / f"{name}_data.h5", **columns)
    with h5py.File(path, "a") as file:
        group = file.create_group("prophesee/left/calib")
        group["intrinsics"], group["resolution"] = np.array([1034.4, 1033.7, 629.7, 357.6]), np.array([1280, 720])
        group["distortion_coeffs"], group["distortion_model"] = np.array([-0.1, 0.14, 1e-4, -2e-4]), "radtan"
    m3ed(root / name / f"{name}_pose_gt.h5", TRUTH)
    return root / name


def vector(root: Path, name: str = "corner_slow1", scale: str = "small") -> Path:
    folder = root / name
    grouped(folder / f"{name}.synced.left_event.hdf5")
    write(root / "0_calib" / "left_event_camera_intrinsic_results.yaml", CAMERA_INFO)
    body, joint = "1 0 0 0.1 0 1 0 0.2 0 0 1 0.3 0 0 0 1", "1 0 0 0 0 1 0 0.05 0 0 1 0 0 0 0 1"
    flat = {key: f"[{', '.join(value.split())}]" for key, value in (("body", body), ("joint", joint))}
    write(root / "0_calib" / "camera_mocap_extrinsic_results1.yaml", f"cam0:\n  T_cam_body: {flat['body']}\n")
    extrinsics = f"cam2:\n  T_cam0_cam2: {flat['joint']}\n"
    write(root / "0_calib" / f"{scale}_scale_joint_camera_extrinsic_results.yaml", extrinsics)
    T_body_cam = compose(parse_transform(f"inverse {body}"), parse_transform(joint))[0]
    header = "# made by mpl\n# timestamp tx ty tz qx qy qz qw"
    write(folder / f"{name}.synced.gt.txt", body_poses(T_body_cam, header=header))
    return folder


def vector_large(root: Path) -> Path:
    return vector(root, "units_dolly1", "large")


def bag(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"#ROSBAG V2.0\n" + b"\x00" * 64)
    return path


def ecrot(root: Path) -> Path:
    write(root / "calib" / "synth_data" / "DAVIS240C-synthetic.yaml", CAMERA_INFO.replace("640", "240"))
    return bag(root / "synth" / "bicycle" / "events.bag").parent


def rpg_stereo(root: Path) -> Path:
    return bag(root / "rpg_stereo" / "rpg_boxes1.bag")


def hku(root: Path) -> Path:
    return bag(root / "hku" / "hku_agg_translation.bag")


# name: builder of a miniature, whether it has ground truth in a file, whether its events can be read today
MINIATURES: dict[str, tuple[Callable[[Path], Path], bool, bool]] = {
    "ECD": (ecd, True, True),
    "UZH-FPV": (uzh_fpv, True, True),
    "EDS": (eds, True, True),
    "DSEC": (dsec, False, False),
    "DSEC unzipped": (dsec_unzipped, False, False),
    "TUM-VIE A": (tum_vie, True, False),
    "TUM-VIE B": (tum_vie_b, True, False),
    "MVSEC": (mvsec_folder, True, False),
    "M3ED": (m3ed_folder, True, False),
    "VECtor small scale": (vector, True, False),
    "VECtor large scale": (vector_large, True, False),
    "ECRot": (ecrot, False, False),
    "RPG stereo": (rpg_stereo, False, False),
    "HKU": (hku, False, False),
}


def found(path: Path) -> Match:
    match = find_dataset(path)
    assert match is not None
    return match


@pytest.mark.parametrize("name", MINIATURES)
def test_miniature(tmp_path: Path, name: str) -> None:
    build, has_truth, readable = MINIATURES[name]
    path = build(tmp_path)
    match = found(path)
    beside = companions_of(match)
    assert name.startswith(match.layout.name.replace("Event Camera Dataset", "ECD"))
    assert beside.calibration is not None
    assert beside.calibration.is_file()
    assert beside.size == match.layout.size
    assert beside.findings == ()
    assert match.layout.page in beside.about
    assert match.layout.unverified in beside.about
    assert found(match.events).events.resolve() == match.events.resolve()
    if has_truth:
        assert beside.groundtruth is not None
        truth = load_groundtruth(beside.groundtruth, beside.pose_options, (1_000_000, 4_000_000))
        assert truth.findings == ()
        np.testing.assert_allclose(truth.trajectory.position, TRUTH.position, atol=1e-9)
    if readable:
        recording = open_recording(path)
        assert recording.size_source == f"sensor of {match.layout.name}"
        assert recording.require_camera().size == match.layout.size


@pytest.mark.parametrize("name", MINIATURES)
def test_events_are_read_or_refused(tmp_path: Path, name: str) -> None:
    build, _, readable = MINIATURES[name]
    path, num_events, refusal = build(tmp_path), 0, ""
    try:
        num_events = sum(len(part) for part in open_recording(path).reader.read())
    except DataError as error:
        refusal = str(error)
    assert (num_events == 2000) if readable or not refusal else str(found(path).events) in refusal


def test_imu_is_read_where_its_columns_are_known(tmp_path: Path) -> None:
    assert open_recording(ecd(tmp_path)).imu is not None
    assert open_recording(uzh_fpv(tmp_path)).imu is None


def test_several_recordings_in_a_folder_must_be_named(tmp_path: Path) -> None:
    folder = mvsec_folder(tmp_path)
    (folder / "indoor_flying2_data.hdf5").write_bytes((folder / "indoor_flying1_data.hdf5").read_bytes())
    with pytest.raises(DataError, match=r"holds 2 recordings of MVSEC \(indoor_flying1_data.hdf5, indoor_flying2_da"):
        find_dataset(folder)
    assert found(folder / "indoor_flying2_data.hdf5").groups["sequence"] == "indoor_flying2"


def test_missing_hand_eye_file_is_a_finding(tmp_path: Path) -> None:
    folder = tum_vie(tmp_path)
    (tmp_path / "mocap-imu-calibrationA.json").unlink()
    (finding,) = companions_of(found(folder)).findings
    assert finding.startswith("TUM-VIE: mocap-imu-calibrationA.json is missing, so the ground truth is the pose of the")


def test_missing_calibration_names_what_was_looked_for(tmp_path: Path) -> None:
    folder = mvsec_folder(tmp_path)
    (folder / "indoor_flying_calib" / "camchain-imucam-indoor_flying.yaml").unlink()
    looked_for = companions_of(found(folder)).looked_for
    assert "camchain-imucam-indoor_flying.yaml, indoor_flying_calib/camchain-imucam-indoor_flying.yaml" in looked_for
    assert looked_for.endswith(f"(MVSEC) in {folder}, {folder / '..'}")


def test_own_recordings_are_no_dataset(tmp_path: Path) -> None:
    folder = text_events(tmp_path / "my_boxes", 346, 260)
    write(folder / "calib.txt", "300 300 173 130")
    assert find_dataset(folder) is None
    assert find_dataset(folder / "events.txt") is None
    assert open_recording(folder).size == SensorSize(height=260, width=346)


def test_every_layout_says_where_it_was_looked_up() -> None:
    layouts = registry()
    assert {layout.name for layout in layouts} == {
        *("Event Camera Dataset", "ECRot", "RPG stereo", "TUM-VIE", "DSEC", "MVSEC", "EDS", "VECtor", "HKU"),
        *("UZH-FPV", "M3ED"),
    }
    for layout in layouts:
        assert layout.page.startswith("https://")
        assert layout.licence
        assert layout.source
        assert layout.size is not None
        assert layout.verified != bool(layout.unverified)


@pytest.mark.parametrize(
    ("entry", "fact"),
    [
        ("- 1", "a mapping with a list of layouts is expected"),
        ("name: x\nlayouts: [{event: [a]}]", "unknown key event; did you mean events?"),
        ("name: x\nlayouts: [{events: [a]}]", "missing"),
    ],
)
def test_bad_entries(entry: str, fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        read_layouts(entry, "x.yaml")
