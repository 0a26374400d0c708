"""Compiled ray casting of boxes with mip-mapped textures before a cube-map environment.

Rays have camera coordinates (x, y, 1), so that the distance along a ray is the depth Z.
All kernels release the interpreter lock and touch only the rows they are given.

Numba counts references to arrays atomically, which costs more than a ray when it happens per ray. Hence the shape of
the code: the loops over rays stand in the functions that hold the arrays; what they call takes records or, without
branching, one array.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

TILE = 16  # pixels; boxes are culled per tile
BACKGROUND = -1  # surface number of the environment
MAX_LEVELS = 12
SUB_RAYS = ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375))  # pixels, a rotated grid

# Bearing (X / Z, Y / Z), change of the bearing per pixel to the right and down, side of the pixel in bearing units,
# tile of the pixel.
RAY = np.dtype(
    [(name, np.float64) for name in ("x", "y", "right_x", "right_y", "down_x", "down_y", "pitch")]
    + [("tile", np.int64)]
)
# Depth, and surface = 6 * box + face, or BACKGROUND at infinite depth.
HIT = np.dtype([("depth", np.float64), ("surface", np.int64)])
# Cone around the rays of a tile: unit axis in the camera frame, cosine and sine of its half angle.
CONE = np.dtype([("axis", np.float64, 3), ("cosine", np.float64), ("sine", np.float64)])
# R_world_cam.
CAMERA = np.dtype([("axes", np.float64, (3, 3))])
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
    """Surfaces: textures (T,) TEXTURE; texels: flat float32, first the environment's six faces, then the textures;
    sky: edge of a face of the environment in texels, border included."""

    textures: np.ndarray
    texels: np.ndarray
    sky: int


class Lens(NamedTuple):
    """The rays of an image: rays (H, W) RAY, tiles (h, w) CONE."""

    rays: np.ndarray
    tiles: np.ndarray


class Frames(NamedTuple):
    """What is where at F times: cameras (F,) CAMERA, boxes (F, n) BOX."""

    cameras: np.ndarray
    boxes: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
def _may_hit(box, cone):  # type: ignore[no-untyped-def]
    """Whether the bounding sphere of a box touches a cone of rays."""
    x, y, z = box.center[0], box.center[1], box.center[2]
    distance = np.sqrt(x * x + y * y + z * z)
    sine = min(box.radius / distance, 1.0)
    cosine = (cone.axis[0] * x + cone.axis[1] * y + cone.axis[2] * z) / distance
    # Cosine of the sum of both half angles; from inside the sphere everything may be hit.
    return distance <= box.radius or cosine >= cone.cosine * np.sqrt(1.0 - sine * sine) - cone.sine * sine


@njit(cache=True, nogil=True, error_model="numpy")
def _cull(tiles, boxes, numbers, counts, first):  # type: ignore[no-untyped-def]
    """Which boxes the tiles (h, w) may see: counts and numbers (., n) are filled in from tile `first` on."""
    width = tiles.shape[1]
    for index in range(tiles.size):
        count = 0
        for box in range(len(boxes)):
            if _may_hit(boxes[box], tiles[index // width, index % width]):
                numbers[first + index, count] = box
                count += 1
        counts[first + index] = count


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
def _trace(boxes, numbers, counts, rays, hits):  # type: ignore[no-untyped-def]
    """Nearest hit (N,) HIT of each ray (N,) RAY among the boxes that its tile may see."""
    for index in range(len(rays)):
        ray = rays[index]
        depth, surface = np.inf, BACKGROUND
        for candidate in range(counts[ray.tile]):
            number = numbers[ray.tile, candidate]
            distance, face = _hit_box(boxes[number], ray.x, ray.y)
            if distance < depth:
                depth, surface = distance, 6 * number + face
        hits[index].depth, hits[index].surface = depth, surface


@njit(cache=True, nogil=True, error_model="numpy")
def _face_place(box, face, texture, depth, ray):  # type: ignore[no-untyped-def]
    """Where a ray meets a face: (u, v, footprint) in texels of level 0, texel edges at integers, wrapped.

    The footprint of the pixel is the geometric mean of its two sides: between blur and aliasing at grazing angles.
    """
    axis = face // 2
    across, up = (1 if axis == 0 else 0), (1 if axis == 2 else 2)
    u = box.axes[across, 0] * ray.x + box.axes[across, 1] * ray.y + box.axes[across, 2]
    v = box.axes[up, 0] * ray.x + box.axes[up, 1] * ray.y + box.axes[up, 2]
    u, v = box.half[across] + box.origin[across] + depth * u, box.half[up] - box.origin[up] - depth * v
    slant = abs(box.axes[axis, 0] * ray.x + box.axes[axis, 1] * ray.y + box.axes[axis, 2])
    u, v = u * texture.density, v * texture.density
    u -= texture.columns[0] * np.floor(u / texture.columns[0])
    v -= texture.rows[0] * np.floor(v / texture.rows[0])
    return u, v, depth * ray.pitch * texture.density / np.sqrt(max(slant, 1e-3))


@njit(cache=True, nogil=True, error_model="numpy")
def _sky_place(camera, ray, size):  # type: ignore[no-untyped-def]
    """Where a ray meets the cube map: (face, u, v) in texels, texel centres at integers; size: edge with border."""
    m = camera.axes
    x = m[0, 0] * ray.x + m[0, 1] * ray.y + m[0, 2]
    y = m[1, 0] * ray.x + m[1, 1] * ray.y + m[1, 2]
    z = m[2, 0] * ray.x + m[2, 1] * ray.y + m[2, 2]
    if abs(x) >= abs(y) and abs(x) >= abs(z):
        face, major, u, v = 0 if x > 0 else 1, abs(x), y, z
    elif abs(y) >= abs(z):
        face, major, u, v = 2 if y > 0 else 3, abs(y), x, z
    else:
        face, major, u, v = 4 if z > 0 else 5, abs(z), x, y
    half = 0.5 * (size - 2)
    return face, (u / major + 1.0) * half + 0.5, (v / major + 1.0) * half + 0.5


@njit(cache=True, nogil=True, error_model="numpy")
def _pick_level(footprint, levels):  # type: ignore[no-untyped-def]
    """Mip level and the weight of the next one; by halving, for a logarithm would take most of the time."""
    level, last = 0, levels - 1
    while footprint >= 2.0 and level < last:
        footprint *= 0.5
        level += 1
    return level, (max(footprint - 1.0, 0.0) if level < last else 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _bilinear(texels, start, rows, columns, u, v):  # type: ignore[no-untyped-def]
    """An image (rows, columns) at a position, texel centres at integers, wrapped for one texel beyond the borders."""
    left, top = int(np.floor(u)), int(np.floor(v))
    fu, fv = u - left, v - top
    right, bottom = (left + 1) * (left + 1 < columns), (top + 1) * (top + 1 < rows)
    left, top = left + columns * (left < 0), top + rows * (top < 0)
    upper, lower = start + top * columns, start + bottom * columns
    above = texels[upper + left] * (1.0 - fu) + texels[upper + right] * fu
    below = texels[lower + left] * (1.0 - fu) + texels[lower + right] * fu
    return above * (1.0 - fv) + below * fv


@njit(cache=True, nogil=True, error_model="numpy")
def _shade(world, camera, boxes, rays, hits, values):  # type: ignore[no-untyped-def]
    """Intensity (N,) float32 that each ray (N,) RAY sees where it hits (N,) HIT; faces are filtered by mip levels."""
    textures, texels, size = world
    for index in range(len(rays)):
        surface = hits[index].surface
        if surface == BACKGROUND:
            face, u, v = _sky_place(camera, rays[index], size)
            values[index] = _bilinear(texels, face * size * size, size, size, u, v)
        else:
            box, face = boxes[surface // 6], surface % 6
            texture = textures[box.faces[face]]
            u, v, footprint = _face_place(box, face, texture, hits[index].depth, rays[index])
            level, blend = _pick_level(footprint, texture.levels)
            scale, start, rows, columns = 1.0 / (1 << level), texture.start, texture.rows, texture.columns
            value = _bilinear(texels, start[level], rows[level], columns[level], u * scale - 0.5, v * scale - 0.5)
            if blend > 0.0:
                level, scale = level + 1, 0.5 * scale
                coarse = _bilinear(texels, start[level], rows[level], columns[level], u * scale - 0.5, v * scale - 0.5)
                value += (coarse - value) * blend
            values[index] = value


@njit(cache=True, nogil=True, error_model="numpy")
def _split_border(hits, row, rays, parts, columns):  # type: ignore[no-untyped-def]
    """Four rays for each pixel of a row whose surface differs from that of one of its four neighbours.

    Arguments: hits: (rows, W) HIT; rays: (W,) RAY of the row. Filled in: parts (4 W,) RAY and columns (W,).
    Returns: number of such pixels.
    """
    count, up, down, last = 0, max(row - 1, 0), min(row + 1, len(hits) - 1), len(rays) - 1
    for column in range(len(rays)):
        here = hits[row, column].surface
        beside = hits[row, max(column - 1, 0)].surface == here and hits[row, min(column + 1, last)].surface == here
        if beside and hits[up, column].surface == here and hits[down, column].surface == here:
            continue
        ray = rays[column]
        for index in range(4):
            right, below = SUB_RAYS[index]
            part = parts[4 * count + index]
            part.x = ray.x + right * ray.right_x + below * ray.down_x
            part.y = ray.y + right * ray.right_y + below * ray.down_y
            part.pitch, part.tile = ray.pitch, ray.tile
        columns[count] = column
        count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def render_rows(world, lens, frames, images, first, last):  # type: ignore[no-untyped-def]
    """Render the rows [first, last) of all frames into images (F, H, W) float32, linear intensity.

    One ray a pixel, four where two surfaces meet.
    """
    rays, tiles = lens
    width, num_boxes = rays.shape[1], frames.boxes.shape[1]
    start, stop = max(first - 1, 0), min(last + 1, len(rays))
    hits, columns = np.empty((stop - start, width), HIT), np.empty(width, np.int64)
    parts, part_hits, part_values = np.empty(4 * width, RAY), np.empty(4 * width, HIT), np.empty(4 * width, np.float32)
    numbers, counts = np.empty((tiles.size, num_boxes), np.int64), np.zeros(tiles.size, np.int64)
    top, bottom = start // TILE, (stop - 1) // TILE + 1
    for index in range(len(images)):
        camera, boxes, image = frames.cameras[index], frames.boxes[index], images[index]
        _cull(tiles[top:bottom], boxes, numbers, counts, top * tiles.shape[1])
        for row in range(start, stop):
            _trace(boxes, numbers, counts, rays[row], hits[row - start])
        for row in range(first, last):
            _shade(world, camera, boxes, rays[row], hits[row - start], image[row])
            count = _split_border(hits, row - start, rays[row], parts, columns) if num_boxes > 0 else 0
            _trace(boxes, numbers, counts, parts[: 4 * count], part_hits)
            _shade(world, camera, boxes, parts[: 4 * count], part_hits, part_values)
            for border in range(count):
                image[row, columns[border]] = part_values[4 * border : 4 * border + 4].mean()


@njit(cache=True, nogil=True, error_model="numpy")
def cast_rays(boxes, rays, hits):  # type: ignore[no-untyped-def]
    """Nearest hits (N,) HIT of rays (N,) RAY (all of tile 0) among all boxes (n,) BOX of one frame."""
    _trace(boxes, np.arange(len(boxes)).reshape(1, -1), np.array([len(boxes)]), rays, hits)
