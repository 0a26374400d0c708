"""Procedural textures with the statistics of natural images: occluding shapes of all sizes over 1/f noise.

The dead-leaves model gives sharp edges and a power-law spectrum together (Lee, Mumford, Huang, IJCV 2001).
All functions work on log intensity, zero mean and unit deviation; `intensity` makes linear light of it.
"""

from __future__ import annotations

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter

MULTIPLE = 64  # texels; sizes are rounded up to it so that mip levels halve evenly
DARKEST, BRIGHTEST = 0.015, 1.0


def texel_shape(width: float, height: float, density: float) -> tuple[int, int]:
    """Shape (rows, columns) of a texture of width x height metres, rounded up to what mip levels like."""
    rows, columns = (int(np.ceil(length * density / MULTIPLE)) * MULTIPLE for length in (height, width))
    return rows, columns


def standardise(image: np.ndarray) -> np.ndarray:
    """The image (H, W) with zero mean and unit deviation, as float32."""
    deviation = image.std()
    return ((image - image.mean()) / (deviation if deviation > 0 else 1.0)).astype(np.float32)


def intensity(log_image: np.ndarray, contrast: float, mean: float = 0.3) -> np.ndarray:
    """Linear intensity (H, W) float32.

    Arguments:
        log_image: (H, W) log intensity of unit deviation.
        contrast: deviation of the log intensity wanted.
        mean: intensity where log_image is zero.
    """
    return np.clip(mean * np.exp(contrast * log_image), DARKEST, BRIGHTEST).astype(np.float32)


def noise(shape: tuple[int, int], rng: np.random.Generator, slope: float = 1.0) -> np.ndarray:
    """Periodic noise (H, W) whose amplitude falls with frequency to the power of -slope, band-limited at the top."""
    spectrum = fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    rows, columns = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    frequency = np.hypot(rows, columns)
    lowest = 2.0 / max(shape)
    gain = np.maximum(frequency, lowest) ** -slope * np.exp(-0.5 * (frequency / 0.25) ** 2)
    return standardise(fft.irfft2(spectrum * gain.astype(np.float32), s=shape))


def paint(image: np.ndarray, value: float, center: np.ndarray, radius: float, kind: int, angle: float) -> None:
    """Paint one flat shape with smooth borders into the image in place.

    Arguments:
        image: (H, W). value: what to write.
        center: (2,) column and row; radius: texels.
        kind: 0 a disc, 1 a rectangle twice as long as high, n > 2 a regular polygon of n corners.
        angle: radians.
    """
    low = np.maximum(np.floor(center - radius), 0).astype(int)
    high = np.minimum(np.ceil(center + radius) + 1, image.shape[::-1]).astype(int)
    x, y = np.arange(low[0], high[0])[None] - center[0], np.arange(low[1], high[1])[:, None] - center[1]
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    if kind == 0:
        inwards = radius - np.hypot(u, v)
    elif kind == 1:
        inwards = np.minimum(0.89 * radius - np.abs(u), 0.45 * radius - np.abs(v))
    else:
        reach = np.full(u.shape, -np.inf)
        for normal in np.arange(kind) * 2 * np.pi / kind:
            np.maximum(reach, u * np.cos(normal) + v * np.sin(normal), out=reach)
        inwards = radius * np.cos(np.pi / kind) - reach
    cover = np.clip(inwards + 0.5, 0, 1)
    part = image[low[1] : high[1], low[0] : high[0]]
    part += cover * (value - part)


def leaves(shape: tuple[int, int], rng: np.random.Generator, radii: tuple[float, float], cover: float) -> np.ndarray:
    """Dead leaves (H, W): overlapping discs, rectangles and polygons of random size and brightness.

    Arguments:
        shape: (H, W) texels. radii: texels, smallest and largest; density falls with the third power.
        cover: area of all leaves divided by that of the image.
    """
    low, high = radii
    mean_area = 2 * np.pi * np.log(high / low) / (low**-2 - high**-2)
    number = int(cover * shape[0] * shape[1] / mean_area) + 1
    share = rng.random(number)
    radius = (low**-2 - share * (low**-2 - high**-2)) ** -0.5
    center = rng.random((number, 2)) * shape[::-1]
    kind = rng.choice([0, 1, 1, 1, 3, 4, 5], number)
    # Most man-made things stand upright.
    angle = np.where(rng.random(number) < 0.5, 0.05 * rng.standard_normal(number), rng.random(number) * np.pi)
    value = rng.standard_normal(number)
    image = np.zeros(shape, np.float32)
    for index in np.argsort(radius < 0.3 * high, kind="stable"):  # large ones first, else they hide the rest
        paint(image, value[index], center[index], radius[index], int(kind[index]), angle[index])
    return standardise(gaussian_filter(image, 0.6))


def natural(shape: tuple[int, int], rng: np.random.Generator, finest: float = 5.0) -> np.ndarray:
    """A picture-like texture (H, W): leaves of all sizes with 1/f noise on top; finest: texels, smallest radius."""
    picture = leaves(shape, rng, (finest, 0.3 * min(shape)), cover=4.0)
    return standardise(picture + 0.35 * noise(shape, rng))


def checker(shape: tuple[int, int], cell: int) -> np.ndarray:
    """A checkerboard (H, W) of cells of `cell` texels."""
    row, column = np.indices(shape) // cell
    return standardise(gaussian_filter(((row + column) % 2).astype(np.float32), 0.6))


def patches(log_image: np.ndarray, rng: np.random.Generator, number: int, sides: tuple[float, float]) -> np.ndarray:
    """Hang framed pictures, plain boards and checkerboards on a wall.

    Arguments:
        log_image: (H, W) the wall. number: how many. sides: texels, shortest and longest side.
    Returns: a changed copy.
    """
    wall = log_image.copy()
    limits = np.array(wall.shape)
    for _ in range(number):
        size = np.minimum(rng.uniform(*sides, 2), limits - 2).astype(int)
        row, column = rng.integers(0, limits - size)
        height, width = size
        kind = rng.random()
        if kind < 0.2:
            picture = checker((height, width), max(int(size.min() / rng.integers(4, 8)), 3))
        elif kind < 0.45:
            picture = np.full((height, width), rng.normal())
        else:
            picture = natural((height, width), rng, finest=5.0)
        frame = max(int(0.03 * size.min()), 1)
        wall[row : row + height, column : column + width] = rng.choice([-1.5, 1.5])
        inner = slice(frame, height - frame), slice(frame, width - frame)
        wall[row : row + height, column : column + width][inner] = picture[inner]
    return wall


def facade(shape: tuple[int, int], rng: np.random.Generator, window: tuple[int, int]) -> np.ndarray:
    """A house front (H, W): a regular grid of framed windows on plaster; window: (rows, columns) texels of a cell."""
    wall = 0.25 * noise(shape, rng, slope=1.3) + rng.normal(0.5, 0.5)
    rows, columns = window
    top, left = int(0.25 * rows), int(rng.uniform(0.15, 0.3) * columns)
    for row in range(0, shape[0] - rows + 1, rows):
        wall[row : row + max(rows // 14, 1)] += rng.choice([-0.5, 0.4])
        for column in range(0, shape[1] - columns + 1, columns):
            glass = wall[row + top : row + rows - top // 2, column + left : column + columns - left]
            glass[:] = 0.9
            pane = glass[2:-2, 2:-2]
            pane[:] = rng.normal(-1.6, 0.5)
            pane[:, pane.shape[1] // 2] = 0.4
            if rng.random() < 0.3:
                pane[: int(rng.uniform(0.2, 0.8) * pane.shape[0])] += 1.2
    return gaussian_filter(wall, 0.6).astype(np.float32)


def paving(shape: tuple[int, int], rng: np.random.Generator, slab: int) -> np.ndarray:
    """A paved ground (H, W) of slabs of `slab` texels that differ in brightness, with dark joints."""
    rows, columns = -(-shape[0] // slab), -(-shape[1] // slab)
    slabs = 0.5 * rng.standard_normal((rows, columns), dtype=np.float32)
    ground = slabs.repeat(slab, axis=0).repeat(slab, axis=1)[: shape[0], : shape[1]]
    ground[::slab] = ground[:, ::slab] = -1.5
    return gaussian_filter(ground + 0.5 * noise(shape, rng), 0.6).astype(np.float32)


def wall_of_shapes(shape: tuple[int, int], rng: np.random.Generator, number: int) -> np.ndarray:
    """Linear intensity (H, W) of a bright wall with dark flat shapes that do not touch, as in ECD's `shapes`."""
    columns = max(round(np.sqrt(number * shape[1] / shape[0])), 1)
    rows = -(-number // columns)
    cell = np.array([shape[1] / columns, shape[0] / rows])
    image = 0.62 + 0.01 * noise(shape, rng)
    for index in rng.permutation(rows * columns)[:number]:
        radius = rng.uniform(0.22, 0.4) * cell.min()
        place = np.array([index % columns, index // columns]) + 0.5
        slack = 0.5 - radius / cell
        center = (place + rng.uniform(-slack, slack)) * cell
        kind = int(rng.choice([0, 1, 3, 4, 5, 6]))
        paint(image, rng.uniform(0.04, 0.2), center, radius, kind, rng.random() * np.pi)
    return gaussian_filter(image, 0.7).astype(np.float32)
