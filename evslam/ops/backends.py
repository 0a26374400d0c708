"""Where the primitives run: numba on the CPU, Triton on a CUDA device, the plain torch twin on anything else."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from evslam.ops import cpu, reference
from evslam.ops.kernels import BinKernel

Kernels = tuple[BinKernel, ...]
Shape = tuple[int, ...]


def scatter(coords: Tensor, columns: Tensor, offsets: Tensor, shape: Shape, kernels: Kernels) -> Tensor:
    """H[b, j] = sum_i sum_c W_ic f_c(u_i - j); coords (N, D), columns W (N, C), offsets (B + 1,) to (B, *shape)."""
    total: Tensor | None = None
    for profile, members in _groups(kernels):
        orders = [kernels[c].order for c in members]
        some = columns if len(members) == len(kernels) else columns[:, members]
        if on_cpu(coords):
            arrays = (_array(coords), _array(some), _array(offsets))
            part = torch.from_numpy(cpu.scatter(*arrays, shape, profile, orders))
        elif on_gpu(coords):
            part = _triton().scatter(coords, some, offsets, shape, profile, orders)
        else:
            part = _plain_scatter(coords, some, offsets, shape, [kernels[c] for c in members])
        total = part if total is None else total + part
    assert total is not None
    return total


def gather(image: Tensor, coords: Tensor, offsets: Tensor, kernels: Kernels) -> Tensor:
    """G[i, c] = sum_j v[b, j] f_c(u_i - j); image (B, *shape), coords (N, D), offsets (B + 1,) to (N, C)."""
    groups = _groups(kernels)
    result = coords.new_empty(len(coords), len(kernels)) if len(groups) > 1 else None
    for profile, members in groups:
        orders = [kernels[c].order for c in members]
        if on_cpu(coords):
            arrays = (_array(image), _array(coords), _array(offsets))
            part = torch.from_numpy(cpu.gather(*arrays, profile, orders))
        elif on_gpu(coords):
            part = _triton().gather(image, coords, offsets, profile, orders)
        else:
            part = _plain_gather(image, coords, offsets, [kernels[c] for c in members])
        if result is None:
            return part
        result[:, members] = part
    assert result is not None
    return result


def _groups(kernels: Kernels) -> list[tuple[str, list[int]]]:
    """Columns with the same profile share a pass."""
    groups: dict[str, list[int]] = {}
    for c, kernel in enumerate(kernels):
        groups.setdefault(kernel.profile, []).append(c)
    return list(groups.items())


def _plain_scatter(coords: Tensor, columns: Tensor, offsets: Tensor, shape: Shape, kernels: list[BinKernel]) -> Tensor:
    parts = [
        torch.stack([reference.scatter(coords[a:b], columns[a:b, c], shape, f) for c, f in enumerate(kernels)]).sum(0)
        for a, b in itertools.pairwise(offsets.tolist())
    ]
    return torch.stack(parts)


def _plain_gather(image: Tensor, coords: Tensor, offsets: Tensor, kernels: list[BinKernel]) -> Tensor:
    rows = [
        torch.stack([reference.gather(image[packet], coords[a:b], each) for each in kernels], 1)
        for packet, (a, b) in enumerate(itertools.pairwise(offsets.tolist()))
    ]
    return torch.cat(rows)


def on_cpu(tensor: Tensor) -> bool:
    """Whether the numba kernels can read the tensor."""
    return tensor.is_cpu


def on_gpu(tensor: Tensor) -> bool:
    """Whether the Triton kernels can read the tensor: it lies on a CUDA device and triton is installed."""
    return tensor.is_cuda and _has_triton()


@lru_cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _triton() -> Any:
    """The module of the Triton kernels, which needs the optional package triton."""
    return importlib.import_module("evslam.ops.triton_kernels")


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()
