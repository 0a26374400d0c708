"""Group axioms, exponential maps and batching of SO3, SE3 and Sim3."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from lie_samples import GROUPS, rotation_columns, tangent, with_angle
from torch import Tensor

from evslam.errors import DataError
from evslam.geometry.lie import SE3, SO3, LieGroup, Sim3

SHAPES = [(), (1,), (5,), (2, 3)]
SIZES = [1e-12, 1e-9, 1e-6, 1e-3, 0.5, 1.0]

each_group = pytest.mark.parametrize("group", GROUPS)
each_shape = pytest.mark.parametrize("shape", SHAPES)


def generator_matrix(group: type[LieGroup], a: Tensor) -> Tensor:
    """The 4x4 matrix of the Lie algebra whose matrix exponential is exp(a).matrix()."""
    matrix = a.new_zeros(*a.shape[:-1], 4, 4)
    x, y, z = a[..., rotation_columns(group)].unbind(-1)
    matrix[..., 2, 1], matrix[..., 0, 2], matrix[..., 1, 0] = x, y, z
    matrix[..., 1, 2], matrix[..., 2, 0], matrix[..., 0, 1] = -x, -y, -z
    if group is not SO3:
        matrix[..., :3, 3] = a[..., :3]
    if group is Sim3:
        matrix[..., :3, :3] += a[..., 6, None, None] * torch.eye(3, dtype=a.dtype)
    return matrix


def assert_same(first: LieGroup, second: LieGroup, tolerance: float = 1e-13) -> None:
    """Equal as transformations: a quaternion and its negative are the same rotation."""
    torch.testing.assert_close(first.matrix(), second.matrix(), rtol=tolerance, atol=tolerance)


@each_group
@each_shape
@pytest.mark.parametrize("size", SIZES)
def test_group_axioms(group: type[LieGroup], shape: tuple[int, ...], size: float) -> None:
    x, y, z = (group.exp(tangent(group, *shape, size=size, seed=seed)) for seed in range(3))
    identity = group.Identity(*shape, dtype=torch.float64)
    assert x.shape == shape
    assert_same((x * y) * z, x * (y * z))
    assert_same(x * identity, x)
    assert_same(identity * x, x)
    assert_same(x * x.inv(), identity)
    assert_same(x.inv() * x, identity)
    torch.testing.assert_close((x * y).matrix(), x.matrix() @ y.matrix(), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(x.inv().matrix(), torch.linalg.inv(x.matrix()), rtol=1e-12, atol=1e-12)


@each_group
@each_shape
@pytest.mark.parametrize("size", SIZES)
def test_log_inverts_exp(group: type[LieGroup], shape: tuple[int, ...], size: float) -> None:
    a = tangent(group, *shape, size=size)
    log = group.exp(a).log()
    torch.testing.assert_close(log[..., :6], a[..., :6], rtol=1e-13, atol=1e-15 * size)
    torch.testing.assert_close(log[..., 6:], a[..., 6:], rtol=0, atol=3e-16)  # of a scale near 1, stored as such


@each_group
@pytest.mark.parametrize("gap", [1e-12, 1e-9, 1e-6, 1e-3, 1e-1])
def test_log_near_a_half_turn(group: type[LieGroup], gap: float) -> None:
    a = with_angle(group, math.pi - gap)
    torch.testing.assert_close(group.exp(a).log(), a, rtol=1e-12, atol=1e-12)
    beyond = group.exp(with_angle(group, math.pi + gap))
    log = beyond.log()
    assert log[rotation_columns(group)].norm().item() == pytest.approx(math.pi - gap, abs=1e-12)
    assert_same(group.exp(log), beyond, 1e-12)


@each_group
@pytest.mark.parametrize("axis", [(1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.6, 0.0, 0.8)])
def test_log_at_a_half_turn(group: type[LieGroup], axis: tuple[float, ...]) -> None:
    data = group.Identity(dtype=torch.float64).data.clone()
    data[group.quaternion] = torch.tensor([*axis, 0.0], dtype=torch.float64)
    log = group(data).log()
    assert log[rotation_columns(group)].norm().item() == pytest.approx(math.pi, abs=1e-14)
    assert_same(group.exp(log), group(data), 1e-12)


@each_group
def test_log_does_not_depend_on_the_sign_or_length_of_the_quaternion(group: type[LieGroup]) -> None:
    x = group.exp(tangent(group, 50, size=1.7))
    for factor in (-1.0, 3.0):
        data = x.data.clone()
        data[..., group.quaternion] *= factor
        torch.testing.assert_close(group(data).log(), x.log(), rtol=1e-13, atol=1e-13)


@each_group
@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-7, 1e-3, 0.4999, 0.5001, 0.9999, 1.0001, 2.0, 3.1415, 5.0, 20.0])
def test_exp_is_the_matrix_exponential(group: type[LieGroup], angle: float) -> None:
    a = with_angle(group, angle)
    expected = torch.matrix_exp(generator_matrix(group, a))
    torch.testing.assert_close(group.exp(a).matrix(), expected, rtol=1e-12, atol=1e-12)


ANGLES = [0.0, 1e-9, 1e-4, 0.3, 0.71, 0.99, 2.5]
LOG_SCALES = [0.0, 1e-9, -1e-9, 1e-4, -0.3, 0.71, 0.99, 1.01, -2.0, 5.0]


def test_sim3_with_every_pairing_of_angle_and_scale() -> None:
    """Angle and log scale both zero, one of them, none: the four corners of W, and both sides of the series' limit."""
    for angle, sigma in product(ANGLES, LOG_SCALES):
        a = with_angle(Sim3, angle)
        a[6] = sigma
        x = Sim3.exp(a)
        torch.testing.assert_close(x.matrix(), torch.matrix_exp(generator_matrix(Sim3, a)), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(x.log(), a, rtol=1e-12, atol=1e-13)
        assert x.data[7].item() == pytest.approx(math.exp(sigma), rel=1e-14)


@each_group
@each_shape
@pytest.mark.parametrize("size", [1e-9, 1e-3, 1.0])
def test_adjoint_moves_a_tangent_through_an_element(group: type[LieGroup], shape: tuple[int, ...], size: float) -> None:
    x = group.exp(tangent(group, *shape, seed=1))
    a = tangent(group, *shape, size=size, seed=2)
    assert_same(x * group.exp(a) * x.inv(), group.exp(x.adj(a)), 1e-12)
    assert_same(x * group.exp(a), x.retr(x.adj(a)), 1e-12)


@each_group
def test_adj_t_is_the_transpose(group: type[LieGroup]) -> None:
    x, unit = group.exp(tangent(group, 4, 1, size=1.5)), torch.eye(group.manifold_dim, dtype=torch.float64)
    matrix, transposed = x.adj(unit).mT, x.adjT(unit).mT
    torch.testing.assert_close(transposed, matrix.mT, rtol=1e-14, atol=1e-14)


@each_group
def test_adjoint_is_a_homomorphism(group: type[LieGroup]) -> None:
    x, y, a = group.exp(tangent(group, 5, seed=1)), group.exp(tangent(group, 5, seed=2)), tangent(group, 5, seed=3)
    torch.testing.assert_close((x * y).adj(a), x.adj(y.adj(a)), rtol=1e-12, atol=1e-12)


@each_group
@each_shape
def test_action_is_that_of_the_matrix(group: type[LieGroup], shape: tuple[int, ...]) -> None:
    x = group.exp(tangent(group, *shape, size=1.5))
    points = torch.randn(*shape, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    homogeneous = torch.cat([points, torch.ones_like(points[..., :1])], -1)
    expected = (x.matrix() @ homogeneous.unsqueeze(-1))[..., :3, 0]
    torch.testing.assert_close(x.act(points), expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(x * points, expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(x.translation(), x.matrix()[..., :3, 3], rtol=0, atol=0)


def test_known_elements() -> None:
    quarter = SO3.exp(torch.tensor([0.0, 0.0, math.pi / 2], dtype=torch.float64))
    half = math.sqrt(0.5)
    torch.testing.assert_close(quarter.data, torch.tensor([0.0, 0.0, half, half], dtype=torch.float64))
    pose = SE3(torch.tensor([1.0, 2.0, 3.0, 0.0, 0.0, half, half], dtype=torch.float64))
    point = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(pose * point, torch.tensor([1.0, 3.0, 3.0], dtype=torch.float64))
    similarity = Sim3(torch.tensor([1.0, 2.0, 3.0, 0.0, 0.0, half, half, 2.0], dtype=torch.float64))
    torch.testing.assert_close(similarity * point, torch.tensor([1.0, 4.0, 3.0], dtype=torch.float64))


@each_group
def test_batches_broadcast(group: type[LieGroup]) -> None:
    x, y = group.exp(tangent(group, 4, 1, seed=1)), group.exp(tangent(group, 3, seed=2))
    a, points = tangent(group, 3, seed=3), torch.randn(3, 3, dtype=torch.float64)
    for i, j in product(range(4), range(3)):
        torch.testing.assert_close((x * y)[i, j].data, (x[i, 0] * y[j]).data, rtol=1e-14, atol=1e-14)
        torch.testing.assert_close((x * points)[i, j], x[i, 0] * points[j], rtol=1e-14, atol=1e-14)
        torch.testing.assert_close(x.adj(a)[i, j], x[i, 0].adj(a[j]), rtol=1e-14, atol=1e-14)
        torch.testing.assert_close(x.adjT(a)[i, j], x[i, 0].adjT(a[j]), rtol=1e-14, atol=1e-14)
        torch.testing.assert_close(x.retr(a)[i, j].data, x[i, 0].retr(a[j]).data, rtol=1e-14, atol=1e-14)


@each_group
def test_batch_of_none(group: type[LieGroup]) -> None:
    x = group.exp(tangent(group, 0))
    assert (x * x.inv()).log().shape == (0, group.manifold_dim)
    assert x.matrix().shape == (0, 4, 4)


@each_group
def test_indexing_and_views_address_the_batch_only(group: type[LieGroup]) -> None:
    x = group.exp(tangent(group, 2, 3))
    assert torch.equal(x[1].data, x.data[1])
    assert torch.equal(x[..., 0].data, x.data[:, 0])
    assert torch.equal(x[:, None].data, x.data[:, None])
    assert torch.equal(x[torch.tensor([True, False])].data, x.data[:1])
    assert torch.equal(x.view(6).data, x.data.reshape(6, -1))
    assert torch.equal(x.view((3, 2)).data, x.view(3, 2).data)
    assert x.to(torch.float32).dtype == torch.float32
    assert len(x) == 2
    with pytest.raises(IndexError):
        x[0, 0, 0]


@each_group
def test_identity_and_init_from_vec(group: type[LieGroup]) -> None:
    assert torch.equal(group.Identity(2, 3).matrix(), torch.eye(4).expand(2, 3, 4, 4))
    assert torch.equal(group.Identity((2, 3)).data, group.Identity(2, 3).data)
    assert torch.equal(group.Identity(dtype=torch.float64).log(), torch.zeros(group.manifold_dim, dtype=torch.float64))
    x = group.exp(tangent(group, 5))
    rounded = x.vec().clone()
    rounded[..., group.quaternion] *= 1.001
    torch.testing.assert_close(group.InitFromVec(rounded).vec(), x.data, rtol=1e-14, atol=1e-14)


@each_group
def test_wrong_shapes_are_named(group: type[LieGroup]) -> None:
    x = group.Identity(2)
    with pytest.raises(
        DataError, match=rf"data of {group.__name__}: shape \(2, 9\) .* \(\.\.\., {group.embedded_dim}\)"
    ):
        group(torch.zeros(2, 9))
    with pytest.raises(DataError, match=r"shape \(2, 2\)"):
        group.exp(torch.zeros(2, 2))
    with pytest.raises(DataError, match="points"):
        x.act(torch.zeros(2, 4))
    with pytest.raises(DataError, match="tangent"):
        x.adj(torch.zeros(2))
    with pytest.raises(TypeError):
        x * 2.0


def test_groups_do_not_mix() -> None:
    with pytest.raises(TypeError):
        SE3.Identity() * SO3.Identity()


@each_group
def test_float32_is_as_good_as_float32_can_be(group: type[LieGroup]) -> None:
    a = torch.cat([tangent(group, 200, size=size, seed=5) for size in (0.0, 1e-20, 1e-6, 1e-3, 0.5, 1.0)])
    x, exact = group.exp(a.float()), group.exp(a.float().double())
    assert x.dtype == torch.float32
    torch.testing.assert_close(x.data.double(), exact.data, rtol=2e-6, atol=5e-7)
    torch.testing.assert_close(x.log(), a.float(), rtol=1e-5, atol=1e-6)


def test_long_float32_products_stay_rotations() -> None:
    step = SO3.exp(torch.tensor([0.01, -0.02, 0.03]))
    x = step
    for _ in range(3000):
        x = step * x
    assert x.data.norm().item() == pytest.approx(1.0, abs=3e-7)
