"""Encoded images to square uint8 arrays of one size."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from wgan_jax.errors import UserError

_MODES = {1: "L", 3: "RGB"}
_LARGEST_PIXELS = 2**26


def decode(encoded: bytes, image_size: int, channels: int) -> np.ndarray:
    """One PNG or JPEG to uint8 [image_size, image_size, channels].

    An image that fits is padded with black to the middle of the square; a
    larger one is scaled until its shorter side fits, then cut to the middle.

    Raises:
      UserError: not an image, too large to be opened safely, or with another
        number of channels or more bits than 8 in each.
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(encoded))
        if image.width * image.height > _LARGEST_PIXELS:
            raise UserError(f"an image of {image.width} x {image.height} pixels is too large")
        if len(image.getbands()) != channels:
            raise UserError(
                f"an image has {len(image.getbands())} channels, but {channels} were asked for"
            )
        if image.mode.startswith(("I", "F")):
            raise UserError(f"an image has more than 8 bits a channel ({image.mode})")
        image = image.convert(_MODES[channels])
    except UnidentifiedImageError as error:
        raise UserError("an image cannot be decoded: it is in no known format") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"an image cannot be decoded: {error}") from error
    if max(image.size) > image_size:
        image = _cover(image, image_size)
    pixels = np.asarray(image).reshape(image.height, image.width, channels)
    return pad_to_square(pixels, image_size)


def _cover(image: Image.Image, size: int) -> Image.Image:
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BOX if scale < 0.5 else None)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def pad_to_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """Images [..., h, w, channels] with black around them, [..., size, size, channels]."""
    h, w = pixels.shape[-3:-1]
    if max(h, w) > size:
        raise ValueError(f"images of {h} x {w} pixels do not fit into {size} x {size}")
    margins = [((size - side) // 2, size - side - (size - side) // 2) for side in (h, w)]
    return np.pad(pixels, [(0, 0)] * (pixels.ndim - 3) + [*margins, (0, 0)])


def cut_to_middle(pixels: np.ndarray, size: int) -> np.ndarray:
    """Images [..., h, w, channels] without what `pad_to_square` put around them."""
    top, left = ((side - size) // 2 for side in pixels.shape[-3:-1])
    return pixels[..., top : top + size, left : left + size, :]
