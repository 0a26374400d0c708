"""The paper's formulation in JAX: rotation, linear bins, functional backpropagation, variance; jit-compiled.

A twin for speed comparisons only (arXiv 2602.12590 is written in JAX): scatter-add of the votes forward, a gather of
the slope with kappa' backward. JAX is no dependency of evslam.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from evslam.ops.cpu import tap_polynomials
from evslam.warp import Canvas

DEGREES = {"rect functional": (0, 2), "linear functional": (1, 3), "linear raw": (1, 1), "quadratic functional": (2, 4)}


def value_and_gradient(canvas: Canvas, kernel: str) -> Callable[..., Any]:
    """Function of (omega (3,), bearing (N, 2), t (N,)) that gives value and gradient; ImportError without JAX.

    Args:
        canvas: image plane. kernel: one of DEGREES.
    """
    import jax
    import jax.numpy as jnp

    degree, gradient_degree = DEGREES[kernel]

    def taps(u: Any, q: int, order: int) -> tuple[Any, list[Any]]:
        """First bin and the q + 1 taps of each event along one axis."""
        half = 0.5 * (q % 2 == 0)
        floor = jnp.floor(u + half)
        s = u + half - floor
        rows = tap_polynomials(q, order).astype(np.float32)
        return floor.astype(jnp.int32) - q // 2, [
            functools.reduce(lambda v, c: v * s + c, row[::-1], 0.0) for row in rows
        ]

    def pixels(coords: Any, q: int, orders: list[tuple[int, int]]) -> Iterator[tuple[Any, list[Any]]]:
        """Tap by tap: flat bin (one beyond the last when outside) and the products of taps, one for each of orders."""
        height, width = canvas.shape
        axes = [[taps(coords[:, axis], q, order[axis]) for axis in (0, 1)] for order in orders]
        x, y = axes[0][0][0], axes[0][1][0]
        for j, i in itertools.product(range(q + 1), repeat=2):
            inside = (x + i >= 0) & (x + i < width) & (y + j >= 0) & (y + j < height)
            index = jnp.where(inside, (y + j) * width + x + i, height * width)
            yield index, [kx[1][i] * ky[1][j] for kx, ky in axes]

    @jax.custom_vjp
    def histogram(coords: Any) -> Any:
        flat = jnp.zeros(canvas.shape[0] * canvas.shape[1] + 1)
        for index, (votes,) in pixels(coords, degree, [(0, 0)]):
            flat = flat.at[index].add(votes, mode="promise_in_bounds")
        return flat[:-1].reshape(canvas.shape)

    def backward(coords: Any, slope: Any) -> tuple[Any]:
        padded = jnp.append(slope.ravel(), 0.0)
        sums = [jnp.zeros(len(coords))] * 2
        for index, weights in pixels(coords, gradient_degree, [(1, 0), (0, 1)]):
            value = padded.at[index].get(mode="promise_in_bounds")
            sums = [total + value * weight for total, weight in zip(sums, weights, strict=True)]
        return (jnp.stack(sums, 1),)

    histogram.defvjp(lambda coords: (histogram(coords), coords), backward)

    def objective(omega: Any, bearing: Any, t: Any) -> Any:
        """Variance after the rotation exp(t omega) by Rodrigues' formula."""
        points = jnp.concatenate([bearing, jnp.ones((len(bearing), 1))], 1)
        rate = jnp.sqrt(omega @ omega + 1e-12)
        axis, angle = omega / rate, rate * t
        across = jnp.cross(axis, points)
        turned = points + jnp.sin(angle)[:, None] * across + (1 - jnp.cos(angle))[:, None] * jnp.cross(axis, across)
        focal, centre = jnp.array([canvas.fx, canvas.fy]), jnp.array([canvas.cx, canvas.cy])
        return histogram(turned[:, :2] / turned[:, 2:] * focal + centre).var()

    return jax.jit(jax.value_and_grad(objective))
