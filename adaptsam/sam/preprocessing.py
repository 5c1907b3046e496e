"""Preprocessing of pixels for SAM, and back: its own resizing, normalisation and padding, at any input size."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide
from torch.nn import functional

from adaptsam.errors import InputError


class MinMaxSam(Sam):
    """A SAM whose input is each image scaled to 0..1 by its own darkest and brightest value, as MedSAM's is."""

    def preprocess(self, x: torch.Tensor) -> torch.Tensor:
        """Pixels (…, 3, h, w) of any range to float32 (…, 3, S, S): 0..1, padded with 0 at the bottom and the right."""
        x = x.float()
        low, high = x.amin((-3, -2, -1), keepdim=True), x.amax((-3, -2, -1), keepdim=True)
        x = (x - low) / (high - low).clamp(min=1e-8)
        size = self.image_encoder.img_size
        return functional.pad(x, (0, size - x.shape[-1], 0, size - x.shape[-2]))


def to_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Three equal channels from a gray image; a colour image as it is.

    Args:
        image: uint8, (H, W), (H, W, 1) or (H, W, 3) in RGB order.

    Returns:
        uint8 (H, W, 3), contiguous.

    Raises:
        InputError: another type, another number of channels or no pixels.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise InputError(f"An image must hold 8-bit pixels from 0 to 255, not {image.dtype}; apply a window first.")
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise InputError(f"An image must have the shape (H, W) or (H, W, 3), not {image.shape}; pass one slice.")
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def resized_shape(original_size: tuple[int, int], image_size: int) -> tuple[int, int]:
    """Height and width after the longest side was brought to ``image_size``; both at least 1.

    Raises:
        InputError: the image is so narrow that nothing of it would be left.
    """
    height, width = ResizeLongestSide.get_preprocess_shape(*original_size, image_size)
    if min(height, width) < 1:
        raise InputError(f"An image of {original_size[0]} by {original_size[1]} pixels is too narrow; crop it first.")
    return height, width


def prepare_image(sam: Sam, image: NDArray[np.uint8]) -> tuple[torch.Tensor, tuple[int, int]]:
    """Prepare the image encoder's input, exactly as ``SamPredictor.set_image`` makes it.

    Args:
        sam: gives the input size S and how intensities are scaled.
        image: uint8 (H, W) or (H, W, 3).

    Returns:
        float32 (3, S, S) on the model's device, and the resized (h, w) before zero padding at the bottom and the right.
    """
    image = to_rgb(image)
    input_size = resized_shape((image.shape[0], image.shape[1]), sam.image_encoder.img_size)
    resized = ResizeLongestSide(sam.image_encoder.img_size).apply_image(image)
    pixels = torch.from_numpy(resized).to(sam.device).permute(2, 0, 1).contiguous()
    return sam.preprocess(pixels), input_size


def prepare_mask(mask: NDArray[np.bool_], image_size: int) -> torch.Tensor:
    """A mask in the model's frame: resized like an image, padded with background, centred at zero.

    This is how the P²SAM reference brings the prior's mask to the features: foreground is what is greater than zero
    after any further bilinear resampling.

    Args:
        mask: bool (H, W).
        image_size: S, the side of the model's input in pixels.

    Returns:
        float32 (1, 1, S, S); -127.5 is background and 127.5 foreground where the mask has both.

    Raises:
        InputError: the mask is not a plane.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or 0 in mask.shape:
        raise InputError(f"A mask must have the shape (H, W), not {mask.shape}; pass one slice at a time.")
    height, width = resized_shape((mask.shape[0], mask.shape[1]), image_size)
    values = mask.astype(bool).astype(np.uint8) * np.uint8(255)
    resized = ResizeLongestSide(image_size).apply_image(values)
    frame = torch.zeros(1, 1, image_size, image_size)
    frame[0, 0, :height, :width] = torch.from_numpy(resized)
    return frame - (frame.max() + frame.min()) / 2


def scale_points(points: ArrayLike, original_size: tuple[int, int], image_size: int) -> NDArray[np.float32]:
    """Points of the original image in the model's frame, as ``ResizeLongestSide.apply_coords``.

    Args:
        points: (n, 2), x then y, in original pixels; pixel centres are whole numbers.
        original_size: (H, W) of the image the points were placed on.
        image_size: S, the side of the model's input in pixels.

    Returns:
        float32 (n, 2), x then y, in pixels of the input.
    """
    coordinates = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    return ResizeLongestSide(image_size).apply_coords(coordinates, original_size).astype(np.float32)
