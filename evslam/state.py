"""Objects as trees of tensors, numbers and strings, so that a checkpoint holds data and no code."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch


def to_state(value: Any) -> Any:
    """A tree that `torch.save` writes and `torch.load(weights_only=True)` reads.

    Arrays become tensors, copied; objects become a dictionary of their fields with the name of their class.

    Raises:
        TypeError: something that is neither data nor an object with fields.
    """
    if value is None or isinstance(value, bool | int | float | str | torch.Tensor):
        return value
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value, order="C"))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {"class": "dict", "items": [[to_state(k), to_state(v)] for k, v in value.items()]}
    if isinstance(value, deque):
        return {"class": "deque", "maxlen": value.maxlen, "items": [to_state(each) for each in value]}
    if isinstance(value, tuple | list):
        return {"class": type(value).__name__, "items": [to_state(each) for each in value]}
    if not hasattr(value, "__dict__"):
        raise TypeError(f"{type(value).__name__} is no data that a checkpoint can hold")
    return {"class": type(value).__name__, "fields": {k: to_state(v) for k, v in vars(value).items()}}


def from_state(state: Any, classes: Iterable[type]) -> Any:
    """What `to_state` was given, with objects of these classes only.

    Raises:
        KeyError: an object of another class.
    """
    known = {each.__name__: each for each in classes}
    if isinstance(state, torch.Tensor):
        return state.numpy()
    if not isinstance(state, dict):
        return state
    name = state["class"]
    if name in ("tuple", "list"):
        return {"tuple": tuple, "list": list}[name](from_state(each, known.values()) for each in state["items"])
    if name == "deque":
        return deque((from_state(each, known.values()) for each in state["items"]), state["maxlen"])
    if name == "dict":
        return {from_state(k, known.values()): from_state(v, known.values()) for k, v in state["items"]}
    made: Any = object.__new__(known[name])
    for field, value in state["fields"].items():
        object.__setattr__(made, field, from_state(value, known.values()))
    return made
