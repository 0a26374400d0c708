"""Objects go through a checkpoint file unchanged, and nothing but the classes named comes out of one."""

from __future__ import annotations

import io
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from evslam.state import from_state, to_state


@dataclass(frozen=True)
class Inner:
    values: np.ndarray
    name: str | None


class Outer:
    def __init__(self) -> None:
        self.inner = [Inner(np.arange(3.0), None), Inner(np.array([True]), "b")]
        self.by_number = {3: (1, 2.5), "text": [None, True]}


def through_a_file(value: Any, *classes: type) -> Any:
    file = io.BytesIO()
    torch.save(to_state(value), file)
    file.seek(0)
    return from_state(torch.load(file, weights_only=True), classes)


@pytest.mark.parametrize(
    "value", [None, True, -3, 2**62, 1.5, "text", (), (1, "a"), [1, [2.0]], {}, {1: 2, "a": (None,)}, float("inf")]
)
def test_plain_data_comes_back_with_its_type(value: Any) -> None:
    found = through_a_file(value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.int64, np.uint8, bool])
@pytest.mark.parametrize("shape", [(), (0, 2), (3,), (2, 3, 4)])
def test_arrays_keep_shape_type_and_value(dtype: type, shape: tuple[int, ...]) -> None:
    value = (10 * np.random.default_rng(0).random(shape)).astype(dtype)
    value = np.asarray(value)
    found = through_a_file(value)
    assert found.dtype == value.dtype
    assert found.shape == value.shape
    assert np.array_equal(found, value)


def test_arrays_in_any_memory_order() -> None:
    value = np.arange(24.0).reshape(2, 3, 4)[:, ::-1].T
    assert np.array_equal(through_a_file(value), value)


def test_numbers_of_numpy_become_plain() -> None:
    found = through_a_file([np.float32(0.5), np.int64(7), np.bool_(True)])
    assert found == [0.5, 7, True]
    assert [type(each) for each in found] == [float, int, bool]


def test_a_deque_keeps_its_limit() -> None:
    found = through_a_file(deque([1, (2, np.ones(2))], maxlen=2))
    found.append(3)
    assert found.maxlen == 2
    assert found[0][0] == 2
    assert found[1] == 3


def test_objects_come_back_with_all_that_they_hold() -> None:
    found = through_a_file(Outer(), Outer, Inner)
    assert isinstance(found, Outer)
    assert [type(each) for each in found.inner] == [Inner, Inner]
    assert found.inner[0].values.tolist() == [0, 1, 2]
    assert found.inner[1].name == "b"
    assert found.by_number == {3: (1, 2.5), "text": [None, True]}


def test_a_class_that_was_not_named_is_refused() -> None:
    with pytest.raises(KeyError, match="Inner"):
        through_a_file(Outer(), Outer)


def test_what_is_no_data_is_refused() -> None:
    with pytest.raises(TypeError, match=r"generator is no data"):
        to_state([(x for x in ())])


def test_a_state_stays_as_it_was_when_the_object_changes() -> None:
    value = np.zeros(2)
    state = to_state({"a": value})
    value += 1
    assert from_state(state, ())["a"].tolist() == [0, 0]
