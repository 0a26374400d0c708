"""Scale, gravity and the accelerometer's bias from positions up to scale and integrals of the specific force.

Unknown are position P and velocity V of every node, in units of the map, the inverse scale a (units per metre), the
direction of gravity, and the bias b. What the accelerometer tells between two nodes (`integration.Increments`) holds
but for white noise of the acceleration; seen positions are P but for white noise of their own. With u = a (1, g, b) the
equations are linear in P, V and u, so a few Gauss-Newton steps suffice, each of them one sparse solution.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.linalg import null_space
from scipy.sparse import csc_array, csr_array, eye_array, hstack, kron, vstack
from scipy.sparse.linalg import splu

from evslam.inertial.integration import Increments

GRAVITY = 9.81  # m/s^2
_UNKNOWNS = 6  # scale, direction of gravity, bias
_ROUNDS = 8
_HUBER = 2.5  # standard deviations
_LARGEST_STEP = 0.5  # of the logarithm of the scale
_GUESS_S = 2.0
_BLOCK_S = 1.0  # errors of positions are taken to be independent over so many seconds


@dataclass(frozen=True)
class ScaleProblem:
    """What is measured.

    Attributes:
        t: (N,) seconds of the nodes, N >= 3.
        position: (N, 3) of the camera, units of the map.
        lever: (N, 3) metres, from the camera to the accelerometer in world axes.
        moved: what the accelerometer tells from node to node.
        acceleration_noise: m/s^2/sqrt(Hz).
        bias_sigma: m/s^2.
        min_sigma: least standard deviation of a seen position, units of the map.
    """

    t: np.ndarray
    position: np.ndarray
    lever: np.ndarray
    moved: Increments
    acceleration_noise: float
    bias_sigma: float
    min_sigma: float

    def part(self, first: int, stop: int) -> ScaleProblem:
        """The nodes [first, stop) alone."""
        nodes, links = slice(first, stop), slice(first, stop - 1)
        moved = Increments(*(getattr(self.moved, each.name)[links] for each in fields(Increments)))
        return replace(self, t=self.t[nodes], position=self.position[nodes], lever=self.lever[nodes], moved=moved)


@dataclass(frozen=True)
class ScaleFit:
    """The solution.

    Attributes:
        inverse_scale: units of the map per metre.
        gravity: (3,) m/s^2 in world axes.
        bias: (3,) m/s^2.
        sigma: standard deviation of a seen position, units of the map.
        log_scale_sigma: standard deviation of the logarithm of the scale, by the curvature or by the scatter of errors
            over blocks of a second, whichever is larger.
        gravity_sigma: rad, of the direction of gravity.
    """

    inverse_scale: float
    gravity: np.ndarray
    bias: np.ndarray
    sigma: float
    log_scale_sigma: float = np.inf
    gravity_sigma: float = np.inf


def solve_scale(problem: ScaleProblem) -> ScaleFit | None:
    """The most likely scale, direction of gravity and bias; None when the equations have no solution with a scale."""
    inverse_scale, sigma = _first_guess(problem)
    if not inverse_scale > 0:
        return None
    gravity = -GRAVITY * _unit(problem.moved.velocity.sum(0))  # accelerations cancel out over time
    fit = ScaleFit(inverse_scale, gravity, np.zeros(3), max(sigma, problem.min_sigma))
    weight = np.ones(len(problem.t))
    try:
        for _ in range(_ROUNDS):
            tangent = null_space(fit.gravity[None])
            system = _System(problem, fit, weight, _directions(fit, tangent), _state(fit))
            fit, weight = _stepped(problem, fit, tangent, system)
        told = system.with_sigmas(fit)
    except (RuntimeError, ValueError):  # singular, or not finite
        return None
    return told if np.isfinite(told.log_scale_sigma) else None


def _stepped(problem: ScaleProblem, fit: ScaleFit, tangent: np.ndarray, system: _System) -> tuple[ScaleFit, np.ndarray]:
    """The fit after a step, and weights (N,) of the positions."""
    step, error = system.solution[system.globals], system.position_error()
    sigma = max(1.48 * float(np.median(np.abs(error))), problem.min_sigma)
    weight = 1 / np.maximum(1, np.linalg.norm(error, axis=1) / (np.sqrt(3) * _HUBER * sigma))
    larger = float(np.clip(step[0] / fit.inverse_scale, -_LARGEST_STEP, _LARGEST_STEP))
    gravity = GRAVITY * _unit(fit.gravity + GRAVITY * tangent @ step[1:3])
    return ScaleFit(fit.inverse_scale * float(np.exp(larger)), gravity, fit.bias + step[3:], sigma), weight


def solve_scale_alone(problem: ScaleProblem, fit: ScaleFit) -> tuple[float, float]:
    """Logarithm of the scale over that of a fit, and its standard deviation, with gravity and bias as fitted."""
    system = _System(problem, fit, np.ones(len(problem.t)), _state(fit)[:, None], np.zeros(7))
    factor, variance = float(system.solution[system.globals][0]), float(system.covariance(1)[0, 0])
    return -float(np.log(max(factor, 1e-6))), float(np.sqrt(variance)) / max(factor, 1e-6)


def _first_guess(problem: ScaleProblem) -> tuple[float, float]:
    """Inverse scale, and standard deviation of positions, by what gravity and bias hardly touch: windows of two seconds
    of the path and of the twice integrated force, each without the parabola that fits it best."""
    moved, t = problem.moved, problem.t
    velocity = np.concatenate([np.zeros((1, 3)), np.cumsum(moved.velocity, 0)])
    steps = velocity[:-1] * moved.dt[:, None] + moved.position
    path = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, 0)]) - problem.lever
    window = ((t - t[0]) // _GUESS_S).astype(int)
    seen, told = problem.position.copy(), path
    for each in np.unique(window):
        rows = window == each
        basis, _ = np.linalg.qr(np.vander(t[rows] - t[rows].mean(), 3))
        seen[rows], told[rows] = (values - basis @ (basis.T @ values) for values in (seen[rows], told[rows]))
    inverse_scale = float((seen * told).sum() / max(float(np.square(told).sum()), 1e-12))
    return inverse_scale, float((seen - inverse_scale * told).std())


class _System:
    """The linearised equations: u = start + directions x; x are the last unknowns, after P and V of all nodes."""

    def __init__(
        self, problem: ScaleProblem, fit: ScaleFit, weight: np.ndarray, directions: np.ndarray, start: np.ndarray
    ) -> None:
        self.problem, self.fit = problem, fit
        nodes, count = len(problem.t), directions.shape[1]
        self.globals = slice(6 * nodes, 6 * nodes + count)
        whiten = _whitening(problem.moved.dt, fit.inverse_scale * problem.acceleration_noise)
        told = np.einsum("kab,kbcd->kacd", whiten, _told(problem.moved)).reshape(-1, 7)
        seen = np.sqrt(weight) / fit.sigma
        lever = np.zeros((3 * nodes, 7))
        lever[:, 0] = (problem.lever * seen[:, None]).ravel()
        only_position = csr_array((seen, (np.arange(nodes), 2 * np.arange(nodes))), shape=(nodes, 2 * nodes))
        prior = np.eye(7)[4:] @ directions / (fit.inverse_scale * problem.bias_sigma)  # of the bias
        states = vstack([_chain(problem.moved.dt, whiten), only_position])
        unknown = np.concatenate([-told @ directions, -lever @ directions])
        both = hstack([kron(states, eye_array(3)), csr_array(unknown)])
        self.matrix = csc_array(vstack([both, hstack([csr_array((3, 6 * nodes)), csr_array(prior)])]))
        position = (problem.position * seen[:, None]).ravel()
        expected = -start[4:] / (fit.inverse_scale * problem.bias_sigma)
        self.right = np.concatenate([told @ start, position + lever @ start, expected])
        self.factors = splu(csc_array(self.matrix.T @ self.matrix))
        self.solution = np.asarray(self.factors.solve(self.matrix.T @ self.right))

    def position_error(self) -> np.ndarray:
        """(N, 3) of the seen positions, units of the map."""
        state = self.solution[: self.globals.start].reshape(-1, 2, 3)
        lever = self.fit.inverse_scale * self.problem.lever
        return np.asarray(self.problem.position + lever - state[:, 0])

    def covariance(self, count: int) -> np.ndarray:
        """(count, count) of the first unknowns after P and V."""
        unit = np.zeros((len(self.solution), count))
        unit[self.globals.start + np.arange(count), np.arange(count)] = 1
        return np.asarray(self.factors.solve(unit)[self.globals.start : self.globals.start + count])

    def with_sigmas(self, fit: ScaleFit) -> ScaleFit:
        """A fit with its standard deviations, of this system at the solution."""
        covariance = self.covariance(3)
        unit = np.zeros(len(self.solution))
        unit[self.globals.start] = 1
        rest = self.matrix @ self.solution - self.right
        pull = (self.matrix @ self.factors.solve(unit)) * rest  # of every equation on the scale
        intervals = 6 * len(self.problem.moved.dt)
        block = ((self.problem.t - self.problem.t[0]) // _BLOCK_S).astype(int)
        both = np.bincount(block, pull[intervals : intervals + 3 * len(block)].reshape(-1, 3).sum(1))
        both += np.bincount(block[:-1], pull[:intervals].reshape(-1, 6).sum(1), minlength=len(both))
        spread = max(float(np.sqrt(covariance[0, 0])), float(np.linalg.norm(both)))
        tilt = float(np.sqrt(np.linalg.eigvalsh(covariance[1:3, 1:3])[-1]))
        return replace(fit, log_scale_sigma=spread / fit.inverse_scale, gravity_sigma=tilt)


def _state(fit: ScaleFit) -> np.ndarray:
    """u (7,) of a fit."""
    return fit.inverse_scale * np.concatenate([[1.0], fit.gravity, fit.bias])


def _directions(fit: ScaleFit, tangent: np.ndarray) -> np.ndarray:
    """Derivative (7, 6) of u by inverse scale, turn of gravity within the tangent plane (3, 2), and bias."""
    directions = np.zeros((7, _UNKNOWNS))
    directions[:, 0] = _state(fit) / fit.inverse_scale
    directions[1:4, 1:3] = fit.inverse_scale * GRAVITY * tangent
    directions[4:, 3:] = fit.inverse_scale * np.eye(3)
    return directions


def _told(moved: Increments) -> np.ndarray:
    """(K, 2, 3, 7): what position and velocity change by besides V dt, per unit of u."""
    told = np.zeros((len(moved.dt), 2, 3, 7))
    told[:, 0, :, 0], told[:, 1, :, 0] = moved.position, moved.velocity
    told[:, 0, :, 1:4] = np.eye(3) * (moved.dt**2 / 2)[:, None, None]
    told[:, 1, :, 1:4] = np.eye(3) * moved.dt[:, None, None]
    told[:, 0, :, 4:], told[:, 1, :, 4:] = -moved.position_by_bias, -moved.velocity_by_bias
    return told


def _whitening(dt: np.ndarray, noise: float) -> np.ndarray:
    """(K, 2, 2) that makes errors of position and velocity after dt of white acceleration noise independent, size 1."""
    whiten = np.zeros((len(dt), 2, 2))
    whiten[:, 0, 0] = np.sqrt(3 / dt**3) / noise
    whiten[:, 1, 1] = 2 / np.sqrt(dt) / noise
    whiten[:, 1, 0] = -1.5 / dt * whiten[:, 1, 1]
    return whiten


def _chain(dt: np.ndarray, whiten: np.ndarray) -> csr_array:
    """(2 K, 2 N) of one axis: whitened changes of position and velocity of (P, V) of all nodes."""
    link = np.tile(np.array([[-1.0, 0.0, 1.0, 0.0], [0.0, -1.0, 0.0, 1.0]]), (len(dt), 1, 1))
    link[:, 0, 1] = -dt
    values = np.einsum("kab,kbc->kac", whiten, link)
    rows = np.repeat(np.arange(2 * len(dt)), 4)
    columns = np.broadcast_to(2 * np.arange(len(dt))[:, None, None] + np.arange(4), values.shape)
    return csr_array((values.ravel(), (rows, columns.ravel())), shape=(2 * len(dt), 2 * len(dt) + 2))


def _unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / np.linalg.norm(vector))
