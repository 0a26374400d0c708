"""Compiled loops of semi-dense mapping: event images of a moment, ridges, depth sweep, search across edges."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, fastmath=True)
def vote_along(place, age_s, field, cell, image):
    """Bilinear votes of events at pixels (N, 2), moved over their age by the flow (rows, columns, 2) px/s of their cell."""
    height, width = image.shape
    rows, columns = field.shape[:2]
    one = np.float32(1.0)
    for i in range(len(age_s)):
        u, v = place[i, 0], place[i, 1]
        row, column = int(v) // cell, int(u) // cell
        if row < 0 or column < 0 or row >= rows or column >= columns:
            continue
        x, y = u + age_s[i] * field[row, column, 0], v + age_s[i] * field[row, column, 1]
        if not (x >= 0 and y >= 0 and x < width - 1 and y < height - 1):
            continue
        column, row = int(x), int(y)
        fx, fy = x - np.float32(column), y - np.float32(row)
        image[row, column] += (one - fx) * (one - fy)
        image[row, column + 1] += fx * (one - fy)
        image[row + 1, column] += (one - fx) * fy
        image[row + 1, column + 1] += fx * fy


@njit(cache=True, nogil=True)
def ridges(band, strength, valid, threshold, out):
    """Points of sub-pixel accuracy on lines of maxima: fills out (M, 2) with (x, y) and returns their number."""
    height, width = band.shape
    count = 0
    for y in range(2, height - 2):
        for x in range(2, width - 2):
            if strength[y, x] < threshold or not valid[y, x]:
                continue
            here, sharpest, dx, dy = band[y, x], 0.0, 0, 0
            for k in range(4):
                a, b = (1, 0) if k == 0 else (1, 1) if k == 1 else (0, 1) if k == 2 else (-1, 1)
                bend = (2 * here - band[y + b, x + a] - band[y - b, x - a]) / (a * a + b * b)
                if bend > sharpest:
                    sharpest, dx, dy = bend, a, b
            after, before = band[y + dy, x + dx], band[y - dy, x - dx]
            if sharpest == 0.0 or here < after or here < before or (here == after and here == before):
                continue
            if count == len(out):
                return count
            shift = 0.5 * (after - before) / (2 * here - after - before)
            out[count, 0], out[count, 1] = x + shift * dx, y + shift * dy
            count += 1
    return count


@njit(cache=True, nogil=True, fastmath=True)
def sweep(ray, inverse_depths, views, images, camera, score, seen):
    """Mean strength along the lines that points can lie on.

    Args:
        ray: (N, 3) float32 (x, y, 1) of points in the host view; inverse_depths (D,) float32.
        views: (V, 3, 4) float32, T_view_host; images (V, H, W) float32, zero where nothing is known.
        camera: focal, centre x, centre y.
        score: (N, D) float32 to fill; seen (N, D) float32: views that see the place.
    """
    focal, cx, cy = np.float32(camera[0]), np.float32(camera[1]), np.float32(camera[2])
    height, width = images.shape[1:]
    one = np.float32(1.0)
    score[:], seen[:] = 0.0, 0.0
    for i in range(len(ray)):
        x, y = ray[i, 0], ray[i, 1]
        for v in range(len(views)):
            t = views[v]
            a = t[0, 0] * x + t[0, 1] * y + t[0, 2]
            b = t[1, 0] * x + t[1, 1] * y + t[1, 2]
            c = t[2, 0] * x + t[2, 1] * y + t[2, 2]
            image = images[v]
            for d in range(len(inverse_depths)):
                r = inverse_depths[d]
                z = c + r * t[2, 3]
                if z < 1e-3:
                    continue
                scale = focal / z
                u, w = scale * (a + r * t[0, 3]) + cx, scale * (b + r * t[1, 3]) + cy
                if not (u >= 1 and w >= 1 and u < width - 2 and w < height - 2):
                    continue
                column, row = int(u), int(w)
                fx, fy = u - np.float32(column), w - np.float32(row)
                upper = (one - fx) * image[row, column] + fx * image[row, column + 1]
                lower = (one - fx) * image[row + 1, column] + fx * image[row + 1, column + 1]
                score[i, d] += (one - fy) * upper + fy * lower
                seen[i, d] += one


@njit(cache=True, nogil=True)
def peaks(score, seen, min_views, limits, out):
    """Best inverse depth of each point: fills out (N, 2) with its sub-plane index and its margin; index -1 for none.

    limits: smallest score, smallest margin over the best score farther than limits[2] planes away.
    """
    lowest, margin, far = limits[0], limits[1], int(limits[2])
    planes = score.shape[1]
    for i in range(len(score)):
        out[i, 0], out[i, 1] = -1.0, 0.0
        best = 0
        for d in range(planes):
            score[i, d] = score[i, d] / seen[i, d] if seen[i, d] >= min_views else 0.0
            if score[i, d] > score[i, best]:
                best = d
        if best == 0 or best == planes - 1 or score[i, best] < lowest:
            continue
        other = 0.0
        for d in range(planes):
            if abs(d - best) > far and score[i, d] > other:
                other = score[i, d]
        if score[i, best] - other < margin:
            continue
        bend = 2 * score[i, best] - score[i, best + 1] - score[i, best - 1]
        shift = 0.5 * (score[i, best + 1] - score[i, best - 1]) / bend if bend > 1e-6 else 0.0
        out[i, 0], out[i, 1] = best + shift, score[i, best] - other


@njit(cache=True, nogil=True, fastmath=True)
def match(points, tangent, pose, band, valid, camera, radius, threshold, out):
    """Search for edges across their projection.

    Args:
        points: (N, 3) in the host camera; tangent (N, 2) along the edge there, pixels.
        pose: (4, 4) T_target_host; band (H, W) float32 of the target; valid (H, W) bool.
        camera: focal, centre x, centre y.
        radius: pixels searched to both sides; threshold: smallest height of a maximum.
        out: (N, 5) to fill: pixel x, y of the maximum, normal x, y, and 1 where there is one.
    """
    focal, cx, cy = camera
    height, width = band.shape
    steps = 4 * radius + 1
    line = np.zeros(steps)
    for i in range(len(points)):
        out[i, 4] = 0.0
        px, py, pz = points[i]
        x = pose[0, 0] * px + pose[0, 1] * py + pose[0, 2] * pz + pose[0, 3]
        y = pose[1, 0] * px + pose[1, 1] * py + pose[1, 2] * pz + pose[1, 3]
        z = pose[2, 0] * px + pose[2, 1] * py + pose[2, 2] * pz + pose[2, 3]
        if z < 1e-3:
            continue
        u, v = focal * x / z + cx, focal * y / z + cy
        qx, qy = px + tangent[i, 0] * pz * 3 / focal, py + tangent[i, 1] * pz * 3 / focal
        xx = pose[0, 0] * qx + pose[0, 1] * qy + pose[0, 2] * pz + pose[0, 3]
        yy = pose[1, 0] * qx + pose[1, 1] * qy + pose[1, 2] * pz + pose[1, 3]
        zz = pose[2, 0] * qx + pose[2, 1] * qy + pose[2, 2] * pz + pose[2, 3]
        if zz < 1e-3:
            continue
        du, dv = focal * xx / zz + cx - u, focal * yy / zz + cy - v
        length = np.sqrt(du * du + dv * dv)
        if length < 1e-6 or not (u >= radius + 3 and v >= radius + 3):
            continue
        if not (u < width - radius - 4 and v < height - radius - 4) or not valid[int(v), int(u)]:
            continue
        nx, ny = -dv / length, du / length
        for k in range(steps):
            offset, total = 0.5 * (k - 2 * radius), 0.0
            for along in range(-1, 2):
                a, b = u + nx * offset - ny * along, v + ny * offset + nx * along
                column, row = int(a), int(b)
                fx, fy = a - column, b - row
                upper = (1 - fx) * band[row, column] + fx * band[row, column + 1]
                lower = (1 - fx) * band[row + 1, column] + fx * band[row + 1, column + 1]
                total += (1 - fy) * upper + fy * lower
            line[k] = total / 3
        best, place = -1e9, -1
        for k in range(1, steps - 1):
            if line[k] >= line[k - 1] and line[k] > line[k + 1] and line[k] >= threshold:
                value = line[k] * (1 - 0.5 * ((k - 2 * radius) / (2.0 * radius)) ** 2)
                if value > best:
                    best, place = value, k
        if place < 0:
            continue
        bend = 2 * line[place] - line[place - 1] - line[place + 1]
        offset = 0.5 * (place - 2 * radius) + 0.25 * (line[place + 1] - line[place - 1]) / max(bend, 1e-9)
        out[i, 0], out[i, 1], out[i, 2], out[i, 3], out[i, 4] = u + nx * offset, v + ny * offset, nx, ny, 1.0
