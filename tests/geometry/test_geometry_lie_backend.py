"""Which code computes group operations: a real lietorch counts by what it offers, and changes no result."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from evslam.geometry import lie_backend
from evslam.geometry.lie import SE3, SO3, LieGroup, Sim3, backend

OPERATIONS = ["exp", "log", "inv", "mul", "act", "adj", "adjT"]


@pytest.fixture(autouse=True)
def _fresh_detection() -> Iterator[None]:
    lie_backend.princeton_lietorch.cache_clear()
    yield
    lie_backend.princeton_lietorch.cache_clear()


def native_group(own: type[LieGroup], calls: list[str]) -> type:
    """A stand-in for a compiled lietorch group: flat contiguous batches only, no gradients, records its calls."""

    class Native:
        def __init__(self, data: Tensor) -> None:
            assert data.ndim == 2
            assert data.is_contiguous()
            self.data = data

    def method(operation: str) -> Any:
        def run(self: Any, *arguments: Any) -> Any:
            calls.append(f"{own.__name__}.{operation}")
            tensors = [argument.data if isinstance(argument, Native) else argument for argument in arguments]
            assert all(len(tensor) == len(self.data) for tensor in tensors)
            result = getattr(own, f"_{operation}")(self.data, *tensors).detach()
            return Native(result) if operation in ("inv", "mul") else result

        return run

    def exp(a: Tensor) -> Any:
        calls.append(f"{own.__name__}.exp")
        return Native(own._exp(a).detach())

    for operation in OPERATIONS[1:]:
        setattr(Native, operation, method(operation))
    Native.exp = staticmethod(exp)  # type: ignore[attr-defined]
    return Native


def install(monkeypatch: pytest.MonkeyPatch, **content: Any) -> None:
    module = ModuleType("lietorch")
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, "lietorch", module)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Install a genuine-looking lietorch; returns the list of calls it gets."""
    calls: list[str] = []
    install(monkeypatch, **{own.__name__: native_group(own, calls) for own in (SO3, SE3, Sim3)})
    return calls


def test_without_lietorch_our_own_code_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lietorch", None)
    assert backend() == "evslam"


def test_the_other_package_of_that_name_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, __version__="0.4.1", nn=ModuleType("lietorch.nn"), padding=lambda x: x)
    assert backend() == "evslam"
    torch.testing.assert_close(SE3.exp(torch.zeros(6)).data, SE3.Identity().data)


def test_a_name_alone_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, SO3=SimpleNamespace(), SE3=SimpleNamespace(exp=torch.exp), Sim3=None)
    assert backend() == "evslam"


def test_a_lietorch_that_cannot_be_imported_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(name: str) -> ModuleType:
        raise OSError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(lie_backend.importlib, "import_module", fail)
    assert backend() == "evslam"
    assert "libcudart.so.12" in caplog.text


def test_lietorch_is_imported_at_the_first_question_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "lietorch.py").write_text("padding = None\n")
    program = (
        "import sys; from evslam.geometry.lie import backend; assert 'lietorch' not in sys.modules; "
        "print(backend(), 'lietorch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["evslam", "True"]


@pytest.mark.parametrize("group", [SO3, SE3, Sim3])
def test_lietorch_computes_what_it_computes_well(group: type[LieGroup], calls: list[str]) -> None:
    a, b = torch.randn(2, 1, group.manifold_dim) / 2, torch.randn(3, group.manifold_dim) / 2
    points = torch.randn(3, 3)

    def results() -> list[Tensor]:
        x, y = group.exp(a), group.exp(b)
        return [x.data, x.log(), x.inv().data, (x * y).data, x * points, x.adj(b), x.adjT(b), x[0, 0].log()]

    native = results()
    assert backend() == "lietorch"
    expected = OPERATIONS if group is not Sim3 else [name for name in OPERATIONS if name not in ("exp", "log")]
    assert set(calls) == {f"{group.__name__}.{operation}" for operation in expected}
    own = [value.detach() for value in results_of_own_code(results)]
    for first, second in zip(native, own, strict=True):
        assert first.shape == second.shape
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def results_of_own_code(results: Any) -> list[Tensor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lie_backend, "princeton_lietorch", lambda: None)
        return results()


def test_derivatives_and_odd_batches_stay_with_our_own_code(calls: list[str]) -> None:
    a = torch.randn(6, dtype=torch.float64, requires_grad=True)
    SE3.exp(a).log().sum().backward()
    torch.testing.assert_close(a.grad, torch.ones_like(a))
    plain = a.detach()
    identity = torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(torch.func.jacrev(lambda a: SE3.exp(a).log())(plain), identity)
    torch.testing.assert_close(torch.func.jacfwd(lambda a: SE3.exp(a).log())(plain), identity)
    torch.func.vmap(lambda a: SE3.exp(a).log())(plain[None])
    with torch.autograd.forward_ad.dual_level():
        SE3.exp(torch.autograd.forward_ad.make_dual(plain, plain)).log()
    SE3.exp(plain[None][:0]).log()
    SE3.exp(plain.to(torch.bfloat16))
    assert not calls
    with torch.no_grad():
        SE3.exp(a)
    assert calls == ["SE3.exp"]
