"""Conversion of encoded images of any format to uint8 arrays of one size and channel count.

`decode` runs all steps: `open_image` (upright and in memory), `to_channels` (gray, color or color
with alpha, 8 bits each), `fit_image` (one size), and conversion to an array.
"""

from __future__ import annotations

import io
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image, ImageColor, TiffImagePlugin, UnidentifiedImageError

from wgan_jax.errors import UserError, one_line

Fit = Literal["keep", "crop", "pad", "stretch"]

_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_LARGEST_PIXELS = 2**26
_RESAMPLING = Image.Resampling
_LONGEST = 16  # times the output side: longer images are cropped before they are scaled
# Inverse of each EXIF orientation except 1, which is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(
    encoded: bytes,
    image_size: int | tuple[int, int],
    channels: int,
    *,
    fit: Fit = "keep",
    background: str = "black",
    name: str = "an image",
) -> np.ndarray:
    """Decode an image to uint8 [height, width, channels], as an image viewer shows it.

    Supports PNG, JPEG, WebP, BMP, GIF, TIFF and PPM. Takes the first of several frames and applies
    the EXIF orientation. Palettes, 1 bit, 16 bits, CMYK and premultiplied alpha are converted.

    Args:
      encoded: content of the file.
      image_size: height and width, or one number for both.
      channels: 1 for gray, 3 for color, 4 for color with alpha.
      fit: how the image is brought to the size. "crop" scales it to cover the output and crops to
        the center; "pad" scales it to fit inside and pads it with `background`; "stretch" scales
        each side separately; "keep" pads an image that fits without scaling, and crops a larger
        one.
      background: color behind transparent pixels if `channels` has no alpha, and of padding: a
        name or `#rrggbb`.
      name: of the image, for error messages.

    Raises:
      UserError: not an image in one of these formats, damaged, too large to be opened safely,
        or with values in an unknown range.
      ValueError: `channels`, `fit` or `background` is unknown.

    Example:
      >>> file = io.BytesIO()
      >>> Image.new("P", (40, 20)).save(file, "png")
      >>> decode(file.getvalue(), (32, 48), 3, fit="crop").shape
      (32, 48, 3)
    """
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    image = to_channels(open_image(encoded, name), channels, background, name)
    pixels = np.asarray(fit_image(image, size, fit, background))
    return pixels.reshape(*size, channels)


def open_image(encoded: bytes, name: str = "an image") -> Image.Image:
    """Return the first frame of an encoded image, in memory and upright.

    Raises:
      UserError: not an image in a known format, damaged, or too large to be opened safely.
    """
    Image.init()
    try:
        image: Image.Image = Image.open(
            io.BytesIO(encoded), formats=[form for form in _FORMATS if form in Image.OPEN]
        )
        if image.width * image.height > _LARGEST_PIXELS:
            raise UserError(f"{name} of {image.width} x {image.height} pixels is too large")
        if image.format == "TIFF":
            image = _read_tiff(image, name)
        image.load()
        _scale_transparency(image, encoded)
    except UnidentifiedImageError as error:
        reason = _unknown_kind(encoded) if encoded else "it is empty"
        raise UserError(f"{name} cannot be decoded: {reason}") from error
    except UserError:
        raise
    except Exception as error:  # Pillow raises a dozen error types on damaged files
        raise UserError(f"{name} cannot be decoded: {one_line(error)}") from error
    return _upright(image)


def _read_tiff(image: Any, name: str) -> Image.Image:
    """Return a TIFF with the values that Pillow leaves as they are stored brought to 0, black, to
    65535, white.

    Raises:
      UserError: Pillow would misread it.
    """
    kind, tags = image.mode, image.tag_v2
    bits, is_inverted = max(tags.get(258, (1,))), tags.get(262) == 0
    is_misread = (
        (bits == 16 and tags.get(284) == 2 and tags.get(277, 1) > 1)  # separate color planes
        or (bits == 8 and 2 in tags.get(339, ()))  # signed: Pillow takes it as unsigned
        or (kind == "F" and is_inverted)
    )
    if is_misread:
        raise UserError(f"{name} cannot be decoded: {_unsupported(tags)}")
    if not kind.startswith("I;16") or not (bits < 16 or is_inverted):
        return image
    values = np.asarray(image) * np.uint32(65_535) // np.uint32(2**bits - 1)
    values = (65_535 - values if is_inverted else values).astype(np.uint16)
    scaled = Image.fromarray(values)
    scaled.format, scaled.info = image.format, image.info
    scaled.getexif()[0x0112] = tags.get(0x0112, 1)
    return scaled


def _unknown_kind(encoded: bytes) -> str:
    """Say why Pillow does not open an image."""
    if encoded[:4] in TiffImagePlugin.PREFIXES:
        try:
            file = io.BytesIO(encoded)  # the header of a BigTIFF, 43, is longer
            tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if 43 in encoded[2:4] else 8))
            file.seek(tags.next)
            tags.load(file)
            if 258 in tags:
                return _unsupported(tags)
        except Exception:  # damaged
            pass
    return "it is in no known format"


def _unsupported(tags: Any) -> str:
    samples = {2: " signed", 3: " floating-point"}.get(tags.get(339, (1,))[0], "")
    planes = " in separate planes" if tags.get(284) == 2 else ""
    return (
        f"a TIFF of {tags.get(277, 1)} x {max(tags[258])}{samples} bits{planes} (photometric "
        f"interpretation {tags.get(262)}, compression {tags.get(259, 1)}) is not supported: "
        "convert it to PNG"
    )


def _scale_transparency(image: Image.Image, encoded: bytes) -> None:
    """Scale the transparent color of a PNG to 8 bits, as Pillow scales the pixels."""
    clear, depth = image.info.get("transparency"), encoded[24] if len(encoded) > 24 else 8
    if image.format != "PNG" or not 1 <= depth <= 16:
        return
    if isinstance(clear, int) and image.mode == "L" and depth < 8:
        image.info["transparency"] = clear * 255 // (2**depth - 1)
    elif isinstance(clear, tuple) and depth == 16:
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(image.getexif().get(0x0112, 1))
    except Exception:  # damaged metadata do not matter
        return image
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.format = image.format
    return turned


def to_channels(
    image: Image.Image, channels: int, background: str = "black", name: str = "an image"
) -> Image.Image:
    """Convert an image of any mode to 8-bit gray (1), color (3) or color with alpha (4).

    Without an alpha channel, the image is composited over `background`. 16-bit values are divided
    by 257. 32-bit values are taken to be in [0, 255], or in [0, 65535] if any exceeds 255;
    floating-point values in [0, 1] if none exceeds 1.

    Raises:
      UserError: values beyond these, or a mode that cannot be converted.
      ValueError: `channels` or `background` is unknown.
    """
    if channels not in _MODES:
        raise ValueError(f"images have 1, 3 or 4 channels, not {channels}")
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image, name)
    try:
        if not image.has_transparency_data:
            if image.mode == _MODES[channels]:
                return image
            # A palette or CMYK is converted to RGB first; gray stays gray.
            image = image if image.mode == "L" else image.convert("RGB")
            return image.convert(_MODES[channels])
        if image.mode == "La":  # premultiplied, which Pillow converts only to LA
            image = image.convert("LA")
        image = image.convert("RGBA")
    except ValueError as error:
        raise UserError(f"{name} cannot be converted: {error}") from error
    if channels == 4:
        return image
    behind = Image.new("RGBA", image.size, (*color(background), 255))
    return Image.alpha_composite(behind, image).convert(_MODES[channels])


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Convert gray of more than 8 bits to 8, with alpha if one value means transparency."""
    values = np.asarray(image)
    least, most = float(values.min()), float(values.max())  # NaN if there is one
    if image.mode.startswith("I;") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        unit = 257.0
    elif image.mode == "F" and 0 <= least <= most <= 1:
        unit = 1 / 255
    else:
        unit = 1.0 if most <= 255 else 257.0
    if not 0 <= least <= most <= 255 * unit:
        raise UserError(
            f"{name} has values from {least:.6g} to {most:.6g} (mode {image.mode}): known "
            "ranges are [0, 1], [0, 255] and [0, 65535]"
        )
    gray = Image.fromarray(np.round(values / unit).astype(np.uint8))
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return gray
    alpha = Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
    return Image.merge("LA", (gray, alpha))


def color(background: str) -> tuple[int, int, int]:
    """Return red, green and blue of a color given by name or `#rrggbb`.

    Raises:
      ValueError: the color is unknown.

    Example:
      >>> color("white"), color("#ff8000")
      ((255, 255, 255), (255, 128, 0))
    """
    red, green, blue, *_ = ImageColor.getrgb(background)
    return red, green, blue


def fit_image(
    image: Image.Image, size: tuple[int, int], fit: Fit, background: str = "black"
) -> Image.Image:
    """Bring an image of mode L, RGB or RGBA to the size (height, width); see `decode` for `fit`.

    Downscaling averages pixels and does not alias.

    Raises:
      ValueError: `fit` or `background` is unknown.
    """
    height, width = size
    if image.size == (width, height) and fit in get_args(Fit):
        return image
    if fit == "stretch":
        return image.resize((width, height), _RESAMPLING.BICUBIC)
    if fit == "crop":
        return _crop(image, height, width, _RESAMPLING.BICUBIC)
    if fit == "keep" and (image.width > width or image.height > height):
        half = max(height / image.height, width / image.width) < 0.5
        return _crop(image, height, width, _RESAMPLING.BOX if half else _RESAMPLING.BICUBIC)
    if fit not in ("keep", "pad"):
        raise ValueError(f"fit must be keep, crop, pad or stretch, got {fit!r}")
    if fit == "pad":
        scale = min(height / image.height, width / image.width)
        inside = (min(width, round(image.width * scale)), min(height, round(image.height * scale)))
        image = image.resize((max(1, inside[0]), max(1, inside[1])), _RESAMPLING.BICUBIC)
    fill = Image.new("RGBA", (1, 1), (*color(background), 0)).convert(image.mode).getpixel((0, 0))
    out = Image.new(image.mode, (width, height), fill)
    out.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return out


def _crop(image: Image.Image, height: int, width: int, method: Image.Resampling) -> Image.Image:
    scale = max(height / image.height, width / image.width)
    # Scale only the center of a very long image: all of it might not fit in memory.
    most = [int(_LONGEST * side / scale) + 1 for side in (width, height)]
    image = _middle(image, min(image.width, most[0]), min(image.height, most[1]))
    covering = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    return _middle(image.resize(covering, method), width, height)


def _middle(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def cut_to_middle(pixels: np.ndarray, size: int) -> np.ndarray:
    """Crop images [..., h, w, channels] to the center, removing the padding of `fit_image`."""
    top, left = ((side - size) // 2 for side in pixels.shape[-3:-1])
    return pixels[..., top : top + size, left : left + size, :]
