"""Derivatives of SO3, SE3 and Sim3: against finite differences, in closed form, and under torch.func."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from lie_samples import GROUPS, tangent, with_angle
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from evslam.geometry.lie import LieGroup, Sim3

each_group = pytest.mark.parametrize("group", GROUPS)


def points_of_interest(group: type[LieGroup]) -> list[Tensor]:
    """Tangents at zero, tiny, generic, close to where a series ends, without rotation, and near pi."""
    zero = torch.zeros(group.manifold_dim, dtype=torch.float64)
    rotations = [with_angle(group, angle) for angle in (0.0, 0.4999, 3.0)]
    return [zero, tangent(group, size=1e-9), tangent(group), *rotations]


def gradient_functions(group: type[LieGroup]) -> list[Callable[[Tensor], Tensor]]:
    y = group.exp(tangent(group, seed=11))
    b = tangent(group, seed=12)
    p = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)
    return [
        lambda a: group.exp(a).matrix(),
        lambda a: group.exp(a).log(),
        lambda a: group.exp(a).inv().data,
        lambda a: (group.exp(a) * y) * p,
        lambda a: group.exp(a).adj(b),
        lambda a: group.exp(a).adjT(b),
        lambda a: (y.inv() * y.retr(a)).log(),
    ]


@each_group
def test_gradients_agree_with_finite_differences(group: type[LieGroup]) -> None:
    for a, function in product(points_of_interest(group), gradient_functions(group)):
        assert gradcheck(function, (a.requires_grad_(),), atol=1e-6, rtol=1e-5, check_undefined_grad=False)


@each_group
def test_second_derivatives_agree_with_finite_differences(group: type[LieGroup]) -> None:
    zero = torch.zeros(group.manifold_dim, dtype=torch.float64)
    for a in (zero, tangent(group)):
        for function in (lambda a: group.exp(a).matrix(), lambda a: group.exp(a).log()):
            assert gradgradcheck(function, (a.requires_grad_(),), atol=1e-5, rtol=1e-4)


@each_group
def test_gradient_of_products_with_respect_to_both_sides(group: type[LieGroup]) -> None:
    a, b = tangent(group, 2, 1, seed=1).requires_grad_(), tangent(group, 3, seed=2).requires_grad_()
    assert gradcheck(
        lambda a, b: (group.exp(a) * group.exp(b)).log(), (a, b), atol=1e-6, rtol=1e-5, check_undefined_grad=False
    )


@each_group
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_of_exp_has_the_identity_as_derivative(group: type[LieGroup], dtype: torch.dtype) -> None:
    near_pi = with_angle(group, math.pi - 1e-5)
    tolerance = 1e-3 if dtype == torch.float32 else 1e-9
    for a in (torch.zeros(group.manifold_dim), tangent(group, size=1e-12), tangent(group), near_pi):
        jacobian = torch.func.jacrev(lambda a: group.exp(a).log())(a.to(dtype))
        torch.testing.assert_close(jacobian, torch.eye(group.manifold_dim, dtype=dtype), rtol=0, atol=tolerance)


@each_group
def test_log_has_a_finite_gradient_at_a_half_turn(group: type[LieGroup]) -> None:
    data = group.exp(with_angle(group, math.pi)).data.clone()
    data[group.quaternion.stop - 1] = 0.0
    gradient = torch.func.jacrev(lambda data: group(data).log())(data)
    assert torch.isfinite(gradient).all()


def test_derivative_of_the_action_at_the_identity() -> None:
    """d exp(a) p / da = [I, -[p]x, p]."""
    p = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda a: Sim3.exp(a) * p)(torch.zeros(7, dtype=torch.float64))
    expected = torch.tensor(
        [[1.0, 0, 0, 0, 3, -2, 1], [0, 1, 0, -3, 0, 1, 2], [0, 0, 1, 2, -1, 0, 3]], dtype=torch.float64
    )
    torch.testing.assert_close(jacobian, expected, rtol=1e-15, atol=1e-15)


@each_group
def test_torch_func_transforms_agree(group: type[LieGroup]) -> None:
    y, p = group.exp(tangent(group, seed=1)), torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)

    def residual(a: Tensor) -> Tensor:
        return (y * group.exp(a)) * p

    batch = tangent(group, 4, seed=2)
    forward = torch.func.vmap(torch.func.jacfwd(residual))(batch)
    backward = torch.func.vmap(torch.func.jacrev(residual))(batch)
    torch.testing.assert_close(forward, backward, rtol=1e-12, atol=1e-13)
    hessian = torch.func.hessian(lambda a: residual(a).square().sum())(torch.zeros_like(batch[0]))
    torch.testing.assert_close(hessian, hessian.mT, rtol=1e-12, atol=1e-12)
    assert torch.isfinite(hessian).all()
