"""Triton kernels in Triton's interpreter, on CPU tensors, against the numba kernels and through bin_events."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from spline_oracle import SHAPES, close, events, image
from torch import Tensor

from evslam.ops import backends, bin_events, cpu

with pytest.MonkeyPatch.context() as interpreted:  # Triton reads the variable when its own library is imported
    interpreted.setenv("TRITON_INTERPRET", "1")
    pytest.importorskip("triton", reason="the optional package triton is not installed")


@pytest.fixture(scope="module")
def gpu() -> Iterator[ModuleType]:
    """The kernels in the interpreter, for which Triton also looks when a kernel is defined and called."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        from evslam.ops import triton_kernels

        yield triton_kernels


CASES = [
    (1, "rect"),
    (1, "linear*gauss"),
    (2, "linear"),
    (2, "linear*rect"),
    (2, "linear*linear"),
    (2, "gauss_cut"),
    (3, "linear"),
    (3, "linear*rect"),
]


@pytest.mark.parametrize(("ndim", "name"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_triton_equals_numba(gpu: ModuleType, ndim: int, name: str, dtype: torch.dtype) -> None:
    shape, limits = SHAPES[ndim], torch.tensor([0, 30, 30, 70])
    coords = events(70, shape, border=3)[0].to(dtype)
    coords[3, 0], coords[5, -1], coords[9, 0] = torch.nan, torch.inf, -1e30
    columns, upstream = image((70, 2)).to(dtype), image((3, *shape)).to(dtype)
    orders = [(0,) * ndim, (1,) + (0,) * (ndim - 1)]
    tolerance = 1e-13 if dtype == torch.float64 else 1e-5
    votes = cpu.scatter(coords.numpy(), columns.numpy(), limits.numpy(), shape, name, orders)
    close(gpu.scatter(coords, columns, limits, shape, name, orders), votes, tolerance)
    read = cpu.gather(upstream.numpy(), coords.numpy(), limits.numpy(), name, orders)
    close(gpu.gather(upstream, coords, limits, name, orders), read, tolerance)


def test_without_events(gpu: ModuleType) -> None:
    coords, columns, limits = torch.zeros(0, 2), torch.zeros(0, 1), torch.tensor([0, 0])
    assert torch.equal(gpu.scatter(coords, columns, limits, (3, 4), "linear", [(0, 0)]), torch.zeros(1, 3, 4))
    assert gpu.gather(torch.zeros(1, 3, 4), coords, limits, "linear", [(0, 0)]).shape == (0, 1)


def test_bin_events_on_triton(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Value, gradient and Hessian-vector product with the GPU backend in place of numba."""
    coords, weights = events(50, (7, 9), border=1)

    def results() -> list[Tensor]:
        u = coords.clone().requires_grad_()
        histogram = bin_events(u, weights, (7, 9), kernel="rect")
        (slope,) = torch.autograd.grad(histogram.square().sum(), u, create_graph=True)
        (curvature,) = torch.autograd.grad((slope * image((50, 2))).sum(), u)
        return [histogram.detach(), slope.detach(), curvature]

    expected = results()
    monkeypatch.setattr(backends, "on_cpu", lambda tensor: False)
    monkeypatch.setattr(backends, "on_gpu", lambda tensor: True)
    for ours, theirs in zip(results(), expected, strict=True):
        close(ours, theirs, 1e-11)


COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from evslam.ops import triton_kernels
for number in ("fp32", "fp64"):
    for kernel in (triton_kernels._scatter, triton_kernels._gather):
        types = {name: "*" + number for name in kernel.arg_names}
        types |= {"packets": "*i64", "plan": "*i32", "SPEC": "constexpr"}
        spec = {(kernel.arg_names.index("SPEC"),): (2, 3, 3, 4, 64)}
        assert compile(ASTSource(kernel, types, constexprs=spec), target=GPUTarget("cuda", 80, 32)).asm["ptx"]
"""


def test_kernels_compile_for_a_gpu_that_is_not_there() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", COMPILE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
