"""What keyframes show: map points with a description of their surroundings, and which keyframes look alike.

Descriptions are SIFT (Lowe, IJCV 2004; square roots as by Arandjelovic and Zisserman, CVPR 2012), upright, of a fixed
size, at the projected map points on the leaky signed event image. That image depends little on the direction of motion.
For comparison there are plain patches of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from evslam.backend.sift_kernels import sift_descriptors
from evslam.geometry.canvas import Canvas, inside
from evslam.multiview.sparse_map import SparseMap
from evslam.settings_places import PlacesConfig

_NEAR = 1e-6
_PATCH_SIDE = 11  # samples
DIMENSIONS = {"sift": 128, "patch": _PATCH_SIDE**2}  # of descriptors, by `PlacesConfig.descriptor`


@dataclass(frozen=True)
class View:
    """What a keyframe shows.

    Attributes:
        points: (N, 3) float64, map points in the camera frame.
        bearing: (N, 2) float64, their (X / Z, Y / Z).
        landmark: (N,) int64, -1 for points on edges.
        descriptor: (N, D) float32 of unit length.
    """

    points: np.ndarray
    bearing: np.ndarray
    landmark: np.ndarray
    descriptor: np.ndarray


def view_of(map_: SparseMap, index: int, canvas: Canvas, config: PlacesConfig) -> View | None:
    """What a keyframe shows of the landmarks and edges of its neighbours and itself; None without a signed image.

    Args:
        map_: keyframes with signed images, landmarks, edges.
        index: of the keyframe.
        canvas: image plane.
        config: neighbours, patch size, how dense.
    """
    keyframe = map_.keyframes[index]
    if keyframe.signed is None:
        return None
    around = range(index - config.neighbours, index + config.neighbours + 1)
    near = [map_.keyframes[each] for each in around if map_.are_neighbours(index, each)]
    seen = np.concatenate([each.landmark for each in near])
    landmark = np.unique(seen[seen >= 0])
    parts = [map_.points[landmark]]
    for each in near:
        if each.edges is not None:
            parts.append(each.edge_points(canvas))
    world = np.concatenate(parts)
    landmark = np.concatenate([landmark, np.full(len(world) - len(landmark), -1)])
    points = world @ keyframe.T_cam_world[:3, :3].T + keyframe.T_cam_world[:3, 3]
    pixel = canvas.pixels(points[:, :2] / np.maximum(points[:, 2:], _NEAR))
    shown = np.flatnonzero((points[:, 2] > _NEAR) & inside(pixel, canvas.valid))
    cell = (pixel[shown] / config.cell_px).astype(np.int64)
    chosen = shown[np.unique(cell[:, 1] * canvas.width + cell[:, 0], return_index=True)[1]]
    points = points[chosen]
    descriptor = describe(keyframe.signed, pixel[chosen], config)
    return View(points, points[:, :2] / points[:, 2:], landmark[chosen], descriptor)


def describe(image: np.ndarray, pixel: np.ndarray, config: PlacesConfig) -> np.ndarray:
    """Descriptors (N, D) float32 of unit length of places (N, 2) in an image (H, W) uint8.

    Args:
        image: see `PointFrame.signed`.
        pixel: (x, y).
        config: kind and size of the patches.
    """
    kind = sift if config.descriptor == "sift" else plain_patches
    return kind(image, pixel.reshape(-1, 2), config.patch_px)


def sift(image: np.ndarray, pixel: np.ndarray, patch_px: float) -> np.ndarray:
    """SIFT (N, 128); a patch is about six times as wide as `patch_px`."""
    found = sift_descriptors(image, pixel, patch_px)
    return np.asarray(np.sqrt(found / np.maximum(found.sum(1, keepdims=True), 1.0)), np.float32)


def plain_patches(image: np.ndarray, pixel: np.ndarray, patch_px: float) -> np.ndarray:
    """Grey values (N, 121) of patches as wide as those of SIFT, less their mean."""
    step = 6 * patch_px / _PATCH_SIDE
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), step / 2)
    offset = step * (np.arange(_PATCH_SIDE) - (_PATCH_SIDE - 1) / 2)
    across, down = np.meshgrid(offset, offset)
    x = (pixel[:, :1] + across.ravel()).astype(np.float32)
    y = (pixel[:, 1:] + down.ravel()).astype(np.float32)
    if not len(pixel):
        return x
    found = cv2.remap(smooth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    found -= found.mean(1, keepdims=True)
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), _NEAR))


class Vocabulary:
    """Words that descriptors are sorted by, and a vector per view that is alike where views are alike.

    The vector sums, for each word, how the descriptors differ from it (VLAD; Jegou et al., CVPR 2010).

    Args:
        descriptor: (N, D) of the recording itself.
        num_words: of the vocabulary.
        seed: of the choice.
    """

    def __init__(self, descriptor: np.ndarray, num_words: int, seed: int) -> None:
        cv2.setRNGSeed(seed)
        criteria = (cv2.TERM_CRITERIA_MAX_ITER, 10, 0.0)
        sample = descriptor[:: max(len(descriptor) // (200 * num_words), 1)]
        num_words = min(num_words, len(sample))
        self.words = cv2.kmeans(sample, num_words, None, criteria, 1, cv2.KMEANS_RANDOM_CENTERS)[2]

    def summary(self, descriptor: np.ndarray) -> np.ndarray:
        """(num_words * D,) float32 of unit length of a view's descriptors (N, D)."""
        word = (descriptor @ self.words.T - 0.5 * (self.words**2).sum(1)).argmax(1)
        total = np.zeros_like(self.words)
        np.add.at(total, word, descriptor - self.words[word])
        total = np.sign(total) * np.sqrt(np.abs(total))
        flat = total.ravel()
        return np.asarray(flat / max(float(np.linalg.norm(flat)), _NEAR))
