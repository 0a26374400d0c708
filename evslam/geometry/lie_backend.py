"""Where the arithmetic of `evslam.geometry.lie` runs: Princeton's lietorch if it is installed, else evslam's own code.

The PyPI package called `lietorch` is another project without SE3, so a package counts by what it offers, not by its
name. Nothing is imported before the first group operation.

lietorch computes the operations that no derivative is asked of. evslam's own code runs
- where a derivative is asked: lietorch stores tangent-space gradients in the first columns of the gradient of `.data`,
  which ordinary autograd on `.data` would misread, and its functions do not take part in `torch.func`;
- for exp and log of Sim3: lietorch's (scale - 1) / sigma cancels near 1, in float32 it is 0.1 % off at sigma = 1e-5;
- for empty batches, mixed types, and types other than float32 and float64, which lietorch refuses.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from functools import cache
from types import ModuleType

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.autograd import forward_ad

_GROUPS = ("SO3", "SE3", "Sim3")
_OPERATIONS = ("exp", "log", "inv", "mul", "act", "adj", "adjT")
_UNSTABLE = {("Sim3", "exp"), ("Sim3", "log")}
_LOG = logging.getLogger(__name__)


def backend() -> str:
    """Name of the code that computes group operations: "lietorch" (Princeton's) or "evslam". For the log of a run."""
    return "evslam" if princeton_lietorch() is None else "lietorch"


@cache
def princeton_lietorch() -> ModuleType | None:
    """Princeton's lietorch; None if it is missing, another package of that name, or cannot be imported (logged)."""
    try:
        module = importlib.import_module("lietorch")
    except ModuleNotFoundError:
        return None
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        _LOG.warning("The installed lietorch cannot be imported (%s): using evslam's own Lie groups.", error)
        return None
    return module if _is_genuine(module) else None


def _is_genuine(module: ModuleType) -> bool:
    groups = [getattr(module, name, None) for name in _GROUPS]
    return all(callable(getattr(group, operation, None)) for group in groups for operation in _OPERATIONS)


def compute(group: str, operation: str, own: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Run one group operation on the backend.

    Args:
        group: "SO3", "SE3" or "Sim3".
        operation: exp, log, inv, mul, act, adj or adjT.
        own: evslam's implementation, a function of the tensors.
        tensors: one or two tensors (..., D) whose batch shapes broadcast.

    Returns:
        (..., D) the result as a plain tensor: data of an element, tangent vectors or points.
    """
    module = princeton_lietorch()
    if module is None or (group, operation) in _UNSTABLE or not _suits_lietorch(tensors):
        return own(*tensors)
    batch = torch.broadcast_shapes(*(tensor.shape[:-1] for tensor in tensors))
    flat = [tensor.expand(*batch, tensor.shape[-1]).reshape(-1, tensor.shape[-1]) for tensor in tensors]
    result = _run_native(getattr(module, group), operation, flat)
    return result.reshape(*batch, result.shape[-1])


def _suits_lietorch(tensors: tuple[Tensor, ...]) -> bool:
    """True for tensors of one type that have elements and that no derivative and no torch.func transform follows."""
    if tensors[0].dtype not in (torch.float32, torch.float64) or len({tensor.dtype for tensor in tensors}) > 1:
        return False
    return not any(tensor.numel() == 0 or _is_followed(tensor) for tensor in tensors)


def _is_followed(tensor: Tensor) -> bool:
    if is_functorch_wrapped_tensor(tensor) or (tensor.requires_grad and torch.is_grad_enabled()):
        return True
    return forward_ad.unpack_dual(tensor).tangent is not None


def _run_native(group: type, operation: str, flat: list[Tensor]) -> Tensor:
    """Call lietorch on (N, D) tensors; elements and tensors both have `.data`."""
    if operation == "exp":
        return group.exp(flat[0]).data  # type: ignore[attr-defined]
    arguments = [group(flat[1])] if operation == "mul" else flat[1:]
    return getattr(group(flat[0]), operation)(*arguments).data
