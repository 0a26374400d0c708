"""The content of a calibration file as plain mappings and lists, whatever its syntax: YAML, JSON, OpenCV XML, HDF5."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np
import yaml

from evslam.errors import CalibrationError, DataError
from evslam.io.files import opened, read_text

MAX_BYTES = 1 << 20  # no calibration file is larger
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
M3ED_GROUP = "prophesee"  # https://m3ed.io/data_overview/datafiles: prophesee/{left,right}/calib


class _OpenCvLoader(yaml.SafeLoader):
    """YAML with OpenCV's tags: a matrix is read as the mapping that it is."""


def _matrix(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


for _tag in ("opencv-matrix", "opencv-nd-matrix"):
    _OpenCvLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _matrix)


def read_tree(path: Path) -> Any:
    """Reads a calibration file; its syntax is recognised by content.

    Args:
        path: YAML (OpenCV's dialect too), JSON, OpenCV XML, M3ED's HDF5, or text without any of them.

    Returns:
        Mappings, lists, numbers and words; text without keys is returned as a str, without comments.

    Raises:
        CalibrationError: the file is missing, too large or malformed.
    """
    try:
        with opened(path) as file:
            size, head = file.seek(0, 2), _head(file)
        if head == HDF5_SIGNATURE:
            return _from_hdf5(path)
        if size > MAX_BYTES:
            raise CalibrationError(
                f"{path}: {size} bytes, a calibration has at most {MAX_BYTES}; give a calibration file"
            )
        text = read_text(path)
    except DataError as error:
        raise CalibrationError(str(error)) from None
    try:
        return _parse(path, text)
    except RecursionError:
        raise CalibrationError(f"{path}: brackets are nested too deeply; correct the file") from None


def _head(file: Any) -> bytes:
    file.seek(0)
    return bytes(file.read(len(HDF5_SIGNATURE)))


def _parse(path: Path, text: str) -> Any:
    start = text.lstrip()[:1]
    if start == "<":
        return _from_xml(path, text)
    if start == "{":
        try:
            return json.loads(text)
        except ValueError:
            return _from_yaml(path, text)  # YAML may begin with a bracket too
    lines = [line.partition("#")[0] for line in text.splitlines()]
    return _from_yaml(path, text) if any(":" in line for line in lines) else " ".join(lines)


def _from_yaml(path: Path, text: str) -> Any:
    if text.startswith("%YAML:"):  # OpenCV's first line is no valid directive
        text = text.partition("\n")[2]
    try:
        return yaml.load(text, _OpenCvLoader)  # a subclass of SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        raise CalibrationError(f"{path}: not valid YAML ({' '.join(str(error).split())}); correct the file") from None


def _from_xml(path: Path, text: str) -> dict[str, Any]:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise CalibrationError(f"{path}: XML with a document type is not read; write it with OpenCV's FileStorage")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise CalibrationError(f"{path}: not valid XML ({error}); correct the file") from None
    if root.tag != "opencv_storage":
        raise CalibrationError(
            f"{path}: XML with root <{root.tag}>, OpenCV's <opencv_storage> is expected; give another"
        )
    return {child.tag: _xml_value(child) for child in root}


def _xml_value(element: ElementTree.Element) -> Any:
    if len(element):
        return {child.tag: _xml_value(child) for child in element}
    words = (element.text or "").split()
    return words[0] if len(words) == 1 else words


def _from_hdf5(path: Path) -> dict[str, Any]:
    try:
        with h5py.File(path, "r") as file:
            sides = [side for side in ("left", "right") if f"{M3ED_GROUP}/{side}/calib" in file]
            if not sides:
                raise CalibrationError(
                    f"{path}: no group {M3ED_GROUP}/left/calib (as in M3ED) in this HDF5 file; give a calibration file"
                )
            return {f"{M3ED_GROUP}/{side}": _group(file[f"{M3ED_GROUP}/{side}/calib"]) for side in sides}
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:80]
        raise CalibrationError(f"{path}: not a readable HDF5 file ({reason}); copy it again") from None


def _group(group: h5py.Group) -> dict[str, Any]:
    """Small datasets of a group as lists, numbers and words."""
    entries = {}
    for name, dataset in group.items():
        if isinstance(dataset, h5py.Dataset) and dataset.size is not None and dataset.size <= 100:
            value = dataset[()]
            entries[name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else np.asarray(value).tolist()
    return entries
