"""Bootstrap over packets: means, ratios and their confidence intervals, the same draws for everything compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DRAWS, LEVEL = 2000, 95.0


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; NaN where it is undefined."""

    value: float
    low: float
    high: float

    def text(self, decimals: int = 2, factor: float = 1.0) -> str:
        """`value [low, high]`, empty where undefined."""
        if not np.isfinite(self.value):
            return "never" if np.isposinf(self.value) else ""
        low, high = (f"{factor * x:.{decimals}f}" for x in (self.low, self.high))
        return f"{factor * self.value:.{decimals}f} [{low}, {high}]"


def draws(num_packets: int, seed: int = 0) -> np.ndarray:
    """(1 + DRAWS, P) how often each packet counts; the first row is the sample itself."""
    sample = np.ones((1, num_packets))
    if num_packets == 0:
        return sample
    shares = np.full(num_packets, 1 / num_packets)
    return np.vstack([sample, np.random.default_rng(seed).multinomial(num_packets, shares, size=DRAWS)])


def ratio(counts: np.ndarray, over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """(1 + DRAWS,) sum of `over` / sum of `under` (P,) for every draw; infinite or NaN where `under` sums to zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((counts @ over) / (counts @ under))


def root_mean_square(counts: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """(1 + DRAWS,) RMS of the finite errors (P,) for every draw."""
    finite = np.isfinite(errors)
    return np.sqrt(ratio(counts, np.where(finite, errors, 0.0) ** 2, finite.astype(float)))


def medians(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(1 + DRAWS,) median of the values (P,), which may be infinite, for every draw."""
    order = np.argsort(values)
    ranks, number = np.cumsum(counts[:, order], axis=1), counts.sum(1, keepdims=True)
    middle = [(ranks > place).argmax(1) for place in ((number - 1) // 2, number // 2)]
    return np.asarray(sum(values[order][each] for each in middle)) / 2


def interval(values: np.ndarray) -> Interval:
    """Estimate from the first entry, percentile interval from the rest."""
    drawn = values[1:][~np.isnan(values[1:])]
    if np.isnan(values[0]) or not len(drawn):
        return Interval(float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(drawn, [0.5 - LEVEL / 200, 0.5 + LEVEL / 200], method="nearest")
    return Interval(float(values[0]), float(low), float(high))
