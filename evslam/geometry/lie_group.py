"""What the Lie groups of `evslam.geometry.lie` have in common: lietorch's interface over each group's formulae."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from evslam.errors import DataError
from evslam.geometry.lie_backend import compute
from evslam.geometry.lie_maths import normalise, rotate


class LieGroup(ABC):
    """A batch of group elements; the base of SO3, SE3 and Sim3.

    Attributes:
        data: (*shape, embedded_dim) the elements in the layout of the module's table; quaternions of unit length.

    Raises:
        DataError: the last dimension of data is not embedded_dim.
    """

    manifold_dim: ClassVar[int]
    embedded_dim: ClassVar[int]
    identity: ClassVar[tuple[float, ...]]
    quaternion: ClassVar[slice]  # its columns of data

    def __init__(self, data: Tensor) -> None:
        _require_columns(data, self.embedded_dim, f"data of {type(self).__name__}")
        self.data = data

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={tuple(self.shape)}, dtype={self.dtype}, device={self.device})"

    # Construction

    @classmethod
    def Identity(
        cls,
        *batch_shape: int | Sequence[int],
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Self:
        """Identity elements of a batch shape, given as numbers or one sequence; `Identity()` is a single element."""
        element = torch.tensor(cls.identity, dtype=dtype or torch.get_default_dtype(), device=device)
        return cls(element.repeat(*_flat_shape(batch_shape), 1))

    @classmethod
    def InitFromVec(cls, data: Tensor) -> Self:
        """Elements from data (..., embedded_dim), for example poses read from a file; quaternions are normalised."""
        _require_columns(data, cls.embedded_dim, f"data of {cls.__name__}")
        before, after = data[..., : cls.quaternion.start], data[..., cls.quaternion.stop :]
        return cls(torch.cat([before, normalise(data[..., cls.quaternion]), after], -1))

    @classmethod
    def exp(cls, a: Tensor) -> Self:
        """Exponential map of tangent vectors a (..., manifold_dim)."""
        _require_columns(a, cls.manifold_dim, f"tangent of {cls.__name__}")
        return cls(compute(cls.__name__, "exp", cls._exp, a))

    # Group operations

    def log(self) -> Tensor:
        """Logarithm map: tangent vectors (..., manifold_dim), rotation at most pi; the inverse of exp."""
        return compute(type(self).__name__, "log", self._log, self.data)

    def inv(self) -> Self:
        """Inverse elements."""
        return type(self)(compute(type(self).__name__, "inv", self._inv, self.data))

    def mul(self, other: Self) -> Self:
        """Product self other: acts as other first, then self."""
        return type(self)(compute(type(self).__name__, "mul", self._mul, self.data, other.data))

    def __mul__(self, other: Any) -> Any:
        """`X * Y` is the product of elements of one group, `X * points` the action on a tensor of points."""
        if isinstance(other, Tensor):
            return self.act(other)
        return self.mul(other) if type(other) is type(self) else NotImplemented

    def retr(self, a: Tensor) -> Self:
        """Retraction exp(a) self for a (..., manifold_dim)."""
        return self.exp(a).mul(self)

    def act(self, points: Tensor) -> Tensor:
        """Transform points (..., 3); batch shapes broadcast, so N points per element need `X[:, None]`."""
        _require_columns(points, 3, "points")
        return compute(type(self).__name__, "act", self._act, self.data, points)

    def adj(self, a: Tensor) -> Tensor:
        """Adjoint: Ad_X a (..., manifold_dim) with X exp(a) X^-1 = exp(Ad_X a)."""
        _require_columns(a, self.manifold_dim, f"tangent of {type(self).__name__}")
        return compute(type(self).__name__, "adj", self._adj, self.data, a)

    def adjT(self, a: Tensor) -> Tensor:
        """Transposed adjoint Ad_X^T a (..., manifold_dim): carries gradients and covectors."""
        _require_columns(a, self.manifold_dim, f"tangent of {type(self).__name__}")
        return compute(type(self).__name__, "adjT", self._adjT, self.data, a)

    # Parts and other forms

    def vec(self) -> Tensor:
        """(..., embedded_dim) the data."""
        return self.data

    def translation(self) -> Tensor:
        """(..., 3) image of the origin."""
        return self.data[..., :3]

    def matrix(self) -> Tensor:
        """(..., 4, 4) homogeneous matrix."""
        origin = self.translation()
        axes = torch.eye(3, dtype=self.dtype, device=self.device)
        columns = self.data.unsqueeze(-2)
        linear = (self._scale(columns) * rotate(columns[..., self.quaternion], axes)).transpose(-1, -2)
        bottom = torch.zeros_like(linear[..., :1, :])
        last = torch.cat([origin, torch.ones_like(origin[..., :1])], -1).unsqueeze(-1)
        return torch.cat([torch.cat([linear, bottom], -2), last], -1)

    # Behaviour of a batch

    @property
    def shape(self) -> torch.Size:
        """Batch shape."""
        return self.data.shape[:-1]

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return self.data.dtype

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.data.device

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Self:
        """Index the batch dimensions as a tensor of shape `.shape` would be."""
        parts = index if isinstance(index, tuple) else (index,)
        if not any(part is Ellipsis for part in parts):
            parts = (*parts, ...)
        return type(self)(self.data[(*parts, slice(None))])

    def view(self, *batch_shape: int | Sequence[int]) -> Self:
        """The same elements in another batch shape, given as numbers or one sequence."""
        return type(self)(self.data.reshape(*_flat_shape(batch_shape), self.embedded_dim))

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Convert as `torch.Tensor.to` does."""
        return type(self)(self.data.to(*args, **kwargs))

    def detach(self) -> Self:
        """The same elements without history."""
        return type(self)(self.data.detach())

    # What a group defines, on plain tensors

    @classmethod
    def _scale(cls, data: Tensor) -> Tensor | float:
        """(..., 1) factor s of X * p = s R p + t; the number 1 for groups without scale."""
        return 1.0

    @classmethod
    @abstractmethod
    def _exp(cls, a: Tensor) -> Tensor: ...

    @classmethod
    @abstractmethod
    def _log(cls, data: Tensor) -> Tensor: ...

    @classmethod
    @abstractmethod
    def _inv(cls, data: Tensor) -> Tensor: ...

    @classmethod
    @abstractmethod
    def _mul(cls, first: Tensor, second: Tensor) -> Tensor: ...

    @classmethod
    @abstractmethod
    def _act(cls, data: Tensor, points: Tensor) -> Tensor: ...

    @classmethod
    @abstractmethod
    def _adj(cls, data: Tensor, a: Tensor) -> Tensor: ...

    @classmethod
    @abstractmethod
    def _adjT(cls, data: Tensor, a: Tensor) -> Tensor: ...


def _flat_shape(batch_shape: Sequence[int | Sequence[int]]) -> tuple[int, ...]:
    """(2, 3) from `2, 3` as well as from `(2, 3)`."""
    sizes: list[int] = []
    for size in batch_shape:
        sizes.extend([size] if isinstance(size, int) else size)
    return tuple(sizes)


def _require_columns(tensor: Tensor, columns: int, what: str) -> None:
    if tensor.ndim == 0 or tensor.shape[-1] != columns:
        raise DataError(
            f"{what}: shape {tuple(tensor.shape)} does not end in {columns}; pass a (..., {columns}) tensor"
        )
