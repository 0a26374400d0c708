"""Compiled ray casting of boxes with mip-mapped textures before a cube-map environment.

Rays have camera coordinates (bx, by, 1), so that the distance along a ray is the depth Z.
All kernels release the interpreter lock and touch only the rows they are given.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

TILE = 16  # pixels; boxes are culled per tile
BACKGROUND = -1  # surface number of the environment
MAX_LEVELS = 12

# A pixel's ray: bearing (X / Z, Y / Z) of its centre, change of the bearing per pixel to the right and down,
# and the side of the pixel in bearing units.
RAY = np.dtype([(name, np.float64) for name in ("x", "y", "right_x", "right_y", "down_x", "down_y", "pitch")])
# Cone around the rays of a tile: unit axis in the camera frame, half angle in radians.
TILE_CONE = np.dtype([("axis", np.float64, 3), ("spread", np.float64)])
# A box as one frame sees it: R_box_cam, the camera centre in box coordinates, half extents (metres), the centre in
# the camera frame with the radius of the bounding sphere, texture numbers of the faces, whether it is a room.
BOX = np.dtype(
    [
        ("axes", np.float64, (3, 3)),
        ("origin", np.float64, 3),
        ("half", np.float64, 3),
        ("center", np.float64, 3),
        ("radius", np.float64),
        ("faces", np.int64, 6),
        ("inside", np.int64),
    ]
)
# Texels per metre of level 0, number of mip levels; where each level starts in `World.texels`, and its shape.
TEXTURE = np.dtype(
    [
        ("density", np.float64),
        ("levels", np.int64),
        ("start", np.int64, MAX_LEVELS),
        ("rows", np.int64, MAX_LEVELS),
        ("columns", np.int64, MAX_LEVELS),
    ]
)


class World(NamedTuple):
    """Surfaces: textures (T,) TEXTURE, texels flat float32 of all levels, cube (6, N + 2, N + 2) float32."""

    textures: np.ndarray
    texels: np.ndarray
    cube: np.ndarray


class Lens(NamedTuple):
    """The rays of an image: rays (H, W) RAY, tiles (h, w) TILE_CONE."""

    rays: np.ndarray
    tiles: np.ndarray


class Frames(NamedTuple):
    """Where the camera is at F times: axes (F, 3, 3) R_world_cam, boxes (F, n) BOX."""

    axes: np.ndarray
    boxes: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
def _may_hit(box, tile):  # type: ignore[no-untyped-def]
    """Whether the bounding sphere of a box touches the cone of a tile."""
    x, y, z = box.center[0], box.center[1], box.center[2]
    distance = np.sqrt(x * x + y * y + z * z)
    if distance <= box.radius:
        return True
    cosine = (tile.axis[0] * x + tile.axis[1] * y + tile.axis[2] * z) / distance
    reach = tile.spread + np.arcsin(box.radius / distance)
    return reach >= np.pi or cosine >= np.cos(reach)


@njit(cache=True, nogil=True, error_model="numpy")
def _hit_box(box, bx, by):  # type: ignore[no-untyped-def]
    """Where a ray hits a box: (depth, face); depth is inf for a miss."""
    near, far, near_face, far_face = -np.inf, np.inf, 0, 0
    for axis in range(3):
        d = box.axes[axis, 0] * bx + box.axes[axis, 1] * by + box.axes[axis, 2]
        if abs(d) < 1e-12:
            d = 1e-12
        inverse, upward = 1.0 / d, 1
        low, high = (-box.half[axis] - box.origin[axis]) * inverse, (box.half[axis] - box.origin[axis]) * inverse
        if d < 0.0:
            low, high, upward = high, low, 0
        if low > near:
            near, near_face = low, 2 * axis + 1 - upward
        if high < far:
            far, far_face = high, 2 * axis + upward
    depth, face = (far, far_face) if box.inside else (near, near_face)
    if near > far or depth <= 0.0:
        depth = np.inf
    return depth, face


@njit(cache=True, nogil=True, error_model="numpy")
def _trace(boxes, candidates, number, bx, by):  # type: ignore[no-untyped-def]
    """Nearest hit of a ray: (depth, surface); surface = 6 * box + face, or BACKGROUND at infinite depth."""
    depth, surface = np.inf, BACKGROUND
    for index in range(number):
        hit, face = _hit_box(boxes[candidates[index]], bx, by)
        if hit < depth:
            depth, surface = hit, 6 * candidates[index] + face
    return depth, surface


@njit(cache=True, nogil=True, error_model="numpy")
def _bilinear(texture, texels, level, column, row):  # type: ignore[no-untyped-def]
    """One mip level at a position given in texels of level 0 (texel edges at integers), repeated at the borders."""
    columns, rows, start = texture.columns[level], texture.rows[level], texture.start[level]
    scale = 1.0 / (1 << level)
    u, v = column * scale - 0.5, row * scale - 0.5
    left, top = int(np.floor(u)), int(np.floor(v))
    fu, fv = u - left, v - top
    if left < 0 or left >= columns:
        left %= columns
    if top < 0 or top >= rows:
        top %= rows
    right = left + 1 if left + 1 < columns else 0
    bottom = top + 1 if top + 1 < rows else 0
    upper, lower = start + top * columns, start + bottom * columns
    above = texels[upper + left] * (1.0 - fu) + texels[upper + right] * fu
    below = texels[lower + left] * (1.0 - fu) + texels[lower + right] * fu
    return above * (1.0 - fv) + below * fv


@njit(cache=True, nogil=True, error_model="numpy")
def _box_value(world, box, face, depth, ray):  # type: ignore[no-untyped-def]
    """Intensity of a face, trilinear in position and mip level; ray: (bx, by, pitch)."""
    bx, by, pitch = ray
    axis = face // 2
    across, up = (1 if axis == 0 else 0), (1 if axis == 2 else 2)
    texture = world.textures[box.faces[face]]
    m = box.axes
    u = box.half[across] + box.origin[across]
    u += depth * (m[across, 0] * bx + m[across, 1] * by + m[across, 2])
    v = box.half[up] - box.origin[up]
    v -= depth * (m[up, 0] * bx + m[up, 1] * by + m[up, 2])
    slant = abs(m[axis, 0] * bx + m[axis, 1] * by + m[axis, 2])
    density = texture.density
    u, v = u * density, v * density
    # The geometric mean of the two sides of the pixel's footprint: between blur and aliasing at grazing angles.
    detail = np.log2(max(depth * pitch * density / np.sqrt(max(slant, 1e-3)), 1.0))
    last = texture.levels - 1
    level = min(int(detail), last)
    value = _bilinear(texture, world.texels, level, u, v)
    if level < last and detail > level:
        coarse = _bilinear(texture, world.texels, level + 1, u, v)
        value += (coarse - value) * (detail - level)
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def _sky_value(cube, axes, bx, by):  # type: ignore[no-untyped-def]
    """Intensity of the environment, bilinear in its cube map."""
    x = axes[0, 0] * bx + axes[0, 1] * by + axes[0, 2]
    y = axes[1, 0] * bx + axes[1, 1] * by + axes[1, 2]
    z = axes[2, 0] * bx + axes[2, 1] * by + axes[2, 2]
    if abs(x) >= abs(y) and abs(x) >= abs(z):
        face, major, first, second = 0 if x > 0 else 1, abs(x), y, z
    elif abs(y) >= abs(z):
        face, major, first, second = 2 if y > 0 else 3, abs(y), x, z
    else:
        face, major, first, second = 4 if z > 0 else 5, abs(z), x, y
    half, scale = 0.5 * (cube.shape[1] - 2), 1.0 / major
    u, v = (first * scale + 1.0) * half + 0.5, (second * scale + 1.0) * half + 0.5
    left, top = int(u), int(v)
    fu, fv = u - left, v - top
    upper = cube[face, top, left] * (1.0 - fu) + cube[face, top, left + 1] * fu
    lower = cube[face, top + 1, left] * (1.0 - fu) + cube[face, top + 1, left + 1] * fu
    return upper * (1.0 - fv) + lower * fv


@njit(cache=True, nogil=True, error_model="numpy")
def _soft_value(world, frame, listed, ray):  # type: ignore[no-untyped-def]
    """Mean over four rays on a rotated grid inside the pixel; frame: (axes, boxes); listed: (candidates, number)."""
    axes, boxes = frame
    total = 0.0
    for right, down in ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375)):
        bx = ray.x + right * ray.right_x + down * ray.down_x
        by = ray.y + right * ray.right_y + down * ray.down_y
        depth, surface = _trace(boxes, listed[0], listed[1], bx, by)
        if surface == BACKGROUND:
            total += _sky_value(world.cube, axes, bx, by)
        else:
            total += _box_value(world, boxes[surface // 6], surface % 6, depth, (bx, by, ray.pitch))
    return 0.25 * total


@njit(cache=True, nogil=True, error_model="numpy")
def _candidates(tiles, boxes):  # type: ignore[no-untyped-def]
    """Boxes that each tile of a row of tiles may see: (numbers (w, n), counts (w,))."""
    numbers, counts = np.empty((len(tiles), len(boxes)), np.int64), np.zeros(len(tiles), np.int64)
    for tile in range(len(tiles)):
        for box in range(len(boxes)):
            if _may_hit(boxes[box], tiles[tile]):
                numbers[tile, counts[tile]] = box
                counts[tile] += 1
    return numbers, counts


@njit(cache=True, nogil=True, error_model="numpy")
def _is_border(surfaces, row, column):  # type: ignore[no-untyped-def]
    """Whether a pixel's surface differs from that of one of its four neighbours."""
    here, rows, columns = surfaces[row, column], surfaces.shape[0], surfaces.shape[1]
    if row > 0 and surfaces[row - 1, column] != here:
        return True
    if row < rows - 1 and surfaces[row + 1, column] != here:
        return True
    if column > 0 and surfaces[row, column - 1] != here:
        return True
    return column < columns - 1 and surfaces[row, column + 1] != here


@njit(cache=True, nogil=True, error_model="numpy")
def _trace_rows(lens, boxes, depths, surfaces, start):  # type: ignore[no-untyped-def]
    """Depth and surface (rows, W) at the pixel centres of the rows from `start` on."""
    rays, tiles = lens
    tile_row = -1
    for index in range(depths.shape[0]):
        row = start + index
        if row // TILE != tile_row:
            tile_row = row // TILE
            numbers, counts = _candidates(tiles[tile_row], boxes)
        for column in range(depths.shape[1]):
            tile, ray = column // TILE, rays[row, column]
            hit = _trace(boxes, numbers[tile], counts[tile], ray.x, ray.y)
            depths[index, column], surfaces[index, column] = hit


@njit(cache=True, nogil=True, error_model="numpy")
def render_rows(world, lens, frames, images, first, last):  # type: ignore[no-untyped-def]
    """Render the rows [first, last) of all frames into images (F, H, W) float32, linear intensity.

    One ray a pixel, filtered by mip levels; four rays where two surfaces meet.
    """
    rays, tiles = lens
    start, stop = max(first - 1, 0), min(last + 1, rays.shape[0])
    shape = (stop - start, rays.shape[1])
    depths, surfaces = np.full(shape, np.inf), np.full(shape, BACKGROUND)
    for index in range(len(images)):
        axes, boxes, image = frames.axes[index], frames.boxes[index], images[index]
        if len(boxes) > 0:
            _trace_rows(lens, boxes, depths, surfaces, start)
        for row in range(first, last):
            if row == first or row % TILE == 0:
                numbers, counts = _candidates(tiles[row // TILE], boxes)
            for column in range(shape[1]):
                ray, surface = rays[row, column], surfaces[row - start, column]
                if len(boxes) > 0 and _is_border(surfaces, row - start, column):
                    tile = column // TILE
                    image[row, column] = _soft_value(world, (axes, boxes), (numbers[tile], counts[tile]), ray)
                elif surface == BACKGROUND:
                    image[row, column] = _sky_value(world.cube, axes, ray.x, ray.y)
                else:
                    box, depth = boxes[surface // 6], depths[row - start, column]
                    image[row, column] = _box_value(world, box, surface % 6, depth, (ray.x, ray.y, ray.pitch))


@njit(cache=True, nogil=True, error_model="numpy")
def cast_rays(boxes, bearings, depths, surfaces):  # type: ignore[no-untyped-def]
    """Depth and surface number (N,) of the rays with the given bearings (N, 2); boxes: (n,) BOX of one frame."""
    candidates = np.arange(len(boxes))
    for index in range(len(bearings)):
        hit = _trace(boxes, candidates, len(boxes), bearings[index, 0], bearings[index, 1])
        depths[index], surfaces[index] = hit
