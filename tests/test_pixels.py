"""Image files decode to what a viewer shows: every mode, orientation, and kind of damage."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from wgan_jax.data.pixels import decode, to_channels
from wgan_jax.errors import UserError

RED, GRAY_OF_RED = (255, 0, 0), 76


def encoded(image, form="png", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def flat(mode, value, size=(6, 4)):
    return Image.new(mode, size, value)


def corners():
    """Of 6 x 4 pixels, a different color in each quarter."""
    image = Image.new("RGB", (48, 32), "white")
    for color, box in [
        ("red", (0, 0, 24, 16)),
        ("lime", (24, 0, 48, 16)),
        ("blue", (0, 16, 24, 32)),
    ]:
        image.paste(color, box)
    return image


SEEN_UPRIGHT = np.array([[RED, (0, 255, 0)], [(0, 0, 255), (255, 255, 255)]])
# How a camera stores an upright picture: what the EXIF standard calls row 0 and column 0.
STORED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x),
    7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
    8: lambda x: np.rot90(x, -1),
}


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", STORED)
def test_pictures_are_upright(form, orientation):
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(corners()))))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100} if form in ("jpeg", "webp") else {}
    out = decode(encoded(stored, form, exif=exif, **options), (32, 48), 3, fit="stretch")
    seen = out[8::16, 12::24].astype(int)
    assert abs(seen - SEEN_UPRIGHT).max() < 12


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_metadata_leave_the_picture():
    whole = bytearray(encoded(corners(), "jpeg", exif=b"Exif\0\0" + b"MM\0*" + b"\xff" * 40))
    assert decode(bytes(whole), 32, 3).shape == (32, 32, 3)


def palette(transparency=None):
    image = flat("P", 1)
    image.putpalette([0, 255, 0, *RED])
    options = {} if transparency is None else {"transparency": transparency}
    return encoded(image, "png", **options)


def deep(value, form="png"):
    return encoded(Image.fromarray(np.full((4, 6), value)), form)


def clear_deep():
    pixels = np.full((4, 6), 40_000, np.uint16)
    pixels[0, 0] = 7
    return encoded(Image.fromarray(pixels), "png", transparency=7)


def frames(form):
    first, second = flat("RGB", RED), flat("RGB", (0, 0, 255))
    return encoded(first, form, save_all=True, append_images=[second], duration=9, loop=0)


def retagged(data, **tags):
    """A TIFF with other values of some tags than those that its pixels were written with."""
    for tag, (old, new) in tags.items():
        before, after = (struct.pack("<HHIH", int(tag[1:]), 3, 1, value) for value in (old, new))
        assert before in data
        data = data.replace(before, after)
    return data


def premultiplied():
    """A TIFF whose alpha is told to be multiplied into its colors."""
    return retagged(encoded(flat("RGBA", (128, 0, 0, 128)), "tiff"), _338=(2, 1))


def white_is_zero(value):
    return retagged(deep(np.uint16(value), "tiff"), _262=(1, 0))


def twelve_bits(value):
    packed = int(f"{value:03x}" * 24, 16).to_bytes(36).ljust(48, b"\0")
    stored = Image.frombytes("I;16", (6, 4), packed)
    return retagged(encoded(stored, "tiff"), _258=(16, 12))


def planes(bits):
    """A TIFF of red, green and blue after one another."""
    data = encoded(flat("RGB", RED), "tiff", tiffinfo={284: 2})
    three = struct.pack("<HHH", *3 * [8])
    assert data.count(three) == 1
    return data.replace(three, struct.pack("<HHH", *3 * [bits]))


# An encoded picture, and what it is in color and in grey over black.
PICTURES = {
    "color": (encoded(flat("RGB", RED)), RED, GRAY_OF_RED),
    "grey": (encoded(flat("L", 90)), (90,) * 3, 90),
    "grey JPEG": (encoded(flat("L", 90), "jpeg"), (90,) * 3, 90),
    "lossless WebP": (encoded(flat("RGB", RED), "webp", lossless=True), RED, GRAY_OF_RED),
    "BMP": (encoded(flat("RGB", RED), "bmp"), RED, GRAY_OF_RED),
    "GIF": (encoded(flat("RGB", RED), "gif"), RED, GRAY_OF_RED),
    "TIFF": (encoded(flat("RGB", RED), "tiff", compression="tiff_lzw"), RED, GRAY_OF_RED),
    "palette": (palette(), RED, GRAY_OF_RED),
    "palette with a clear color": (palette(1), (0, 0, 0), 0),
    "palette with alphas": (palette(bytes([255, 128])), (128, 0, 0), 38),
    "palette with alpha": (
        encoded(flat("RGBA", (*RED, 128)), "webp", lossless=True),
        (128, 0, 0),
        38,
    ),
    "one bit": (encoded(flat("1", 1)), (255,) * 3, 255),
    "one bit in a TIFF": (encoded(flat("1", 1), "tiff"), (255,) * 3, 255),
    "16 bits": (deep(np.uint16(40_000)), (156,) * 3, 156),
    "16 bits, dark": (deep(np.uint16(200)), (1,) * 3, 1),
    "16 bits, white": (deep(np.uint16(65_535)), (255,) * 3, 255),
    "16 bits in a TIFF": (deep(np.uint16(40_000), "tiff"), (156,) * 3, 156),
    "16 bits, one clear": (clear_deep(), (156,) * 3, 156),
    "32 bits of 8": (deep(np.int32(200), "tiff"), (200,) * 3, 200),
    "32 bits of 16": (deep(np.int32(40_000), "tiff"), (156,) * 3, 156),
    "float of 1": (deep(np.float32(0.5), "tiff"), (128,) * 3, 128),
    "float of 255": (deep(np.float32(200.4), "tiff"), (200,) * 3, 200),
    "16 bits, white is 0": (white_is_zero(40_000), (99,) * 3, 99),
    "12 bits": (twelve_bits(2_500), (156,) * 3, 156),
    "12 bits, white": (twelve_bits(4_095), (255,) * 3, 255),
    "CMYK": (encoded(flat("CMYK", (0, 255, 255, 0)), "tiff"), RED, GRAY_OF_RED),
    "CMYK JPEG": (encoded(flat("CMYK", (0, 255, 255, 0)), "jpeg"), RED, GRAY_OF_RED),
    "grey with alpha": (encoded(flat("LA", (200, 128))), (100,) * 3, 100),
    "color with alpha": (encoded(flat("RGBA", (*RED, 128))), (128, 0, 0), 38),
    "premultiplied color": (premultiplied(), (128, 0, 0), 38),
    "animated GIF": (frames("gif"), RED, GRAY_OF_RED),
    "animated PNG": (frames("png"), RED, GRAY_OF_RED),
    "pages of a TIFF": (frames("tiff"), RED, GRAY_OF_RED),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_kind_of_picture_becomes_the_channels_asked_for(name):
    data, color, gray = PICTURES[name]
    for channels, wanted in ((3, color), (1, (gray,)), (4, None)):
        out = decode(data, (4, 6), channels, background="black")
        assert out.shape == (4, 6, channels)
        assert out.dtype == np.uint8
        if wanted is not None:
            assert abs(out[1:, 1:].astype(int) - wanted).max() <= (3 if "JPEG" in name else 1)
        else:
            own = decode(data, (4, 6), 3).astype(int)
            composed = out[..., :3] * (out[..., 3:] / 255)
            assert abs(composed - own).max() <= 1.5


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA", "YCbCr", "HSV", "RGBX", "I;16B"])
def test_modes_that_libraries_hand_over(mode):
    straight = flat("RGBA", (90, 90, 90, 255))
    if mode == "I;16B":
        image = Image.frombytes(mode, (6, 4), struct.pack(">H", 90 * 257) * 24)
    else:
        image = straight.convert("LA" if mode in ("La", "PA") else "RGB").convert(mode)
    for channels in (1, 3, 4):
        out = np.asarray(to_channels(image, channels)).reshape(4, 6, channels)
        assert abs(out[..., : min(channels, 3)].astype(int) - 90).max() <= 1


def test_what_is_clear_shows_the_background():
    half = encoded(flat("RGBA", (*RED, 128)))
    assert decode(half, 4, 3, background="white")[0, 0].tolist() == [255, 127, 127]
    assert decode(half, 4, 3, background="#0000ff")[0, 0].tolist() == [128, 0, 127]
    assert decode(clear_deep(), (4, 6), 1, background="white")[:1, :2, 0].tolist() == [[255, 156]]
    assert decode(palette(1), 4, 1, background="lime").max() == 150
    assert decode(half, 4, 4)[0, 0].tolist() == [*RED, 128]


def test_ways_to_get_the_size():
    wide = Image.new("RGB", (40, 10), "blue")
    wide.paste("red", (0, 0, 10, 10))
    wide.paste("red", (30, 0, 40, 10))
    data = encoded(wide)
    crop = decode(data, (20, 20), 3, fit="crop", background="lime")
    assert (crop[:, 2:-2] == (0, 0, 255)).all()
    pad = decode(data, (20, 20), 3, fit="pad", background="lime")
    assert (pad[:7] == (0, 255, 0)).all()
    assert (pad[-7:] == (0, 255, 0)).all()
    assert (pad[8:12, 8:12] == (0, 0, 255)).all()
    assert (pad[8:12, :3] == (255, 0, 0)).all()
    stretch = decode(data, (30, 20), 3, fit="stretch")
    assert (stretch[:, 8:12] == (0, 0, 255)).all()
    assert (stretch[:, :3] == (255, 0, 0)).all()
    keep = decode(data, (12, 44), 3, background="lime")
    np.testing.assert_array_equal(keep[1:11, 2:42], np.asarray(wide))
    assert (keep[0] == (0, 255, 0)).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch", "keep"])
@pytest.mark.parametrize("shape", [(1, 1), (300, 1), (1, 3_000), (64, 63)])
@pytest.mark.parametrize("size", [(8, 8), (7, 20)])
def test_any_shape_becomes_any_size(fit, shape, size):
    out = decode(encoded(flat("L", 90, shape)), size, 3, fit=fit, background="#5a5a5a")
    assert out.shape == (*size, 3)
    assert abs(out.astype(int) - 90).max() <= 1


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_smaller_pictures_do_not_alias(fit):
    fine = np.zeros((128, 128), np.uint8)
    fine[:, ::2] = 255
    for side in (8, 31, 50):
        assert abs(decode(encoded(Image.fromarray(fine)), side, 1, fit=fit) - 127.5).max() < 30


def test_a_very_long_picture_fits_in_memory():
    out = decode(encoded(flat("1", 1, (1, 2**22))), 64, 1, fit="crop")
    assert (out == 255).all()


def bomb(width, height):
    """A small file of a large picture."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
DAMAGED = {
    "empty": (b"", "empty"),
    "text": (b"no image", "no known format"),
    "another format": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no known format"),
    "truncated PNG": (encoded(NOISE)[:300], "cannot be decoded"),
    "truncated JPEG": (encoded(NOISE, "jpeg")[:500], "cannot be decoded"),
    "truncated GIF": (encoded(NOISE, "gif")[:300], "cannot be decoded"),
    "truncated WebP": (encoded(NOISE, "webp")[:300], "cannot be decoded"),
    "truncated BMP": (encoded(NOISE, "bmp")[:300], "cannot be decoded"),
    "truncated TIFF": (encoded(NOISE, "tiff")[:-500], "cannot be decoded"),
    "a bomb": (bomb(50_000, 50_000), "too large|cannot be decoded"),
    "a large bomb": (bomb(9_000, 9_000), "9000 x 9000 pixels is too large"),
    "no pixels": (bomb(0, 5), "cannot be decoded"),
    "negative values": (deep(np.int32(-5), "tiff"), "values from -5"),
    "values beyond 16 bits": (deep(np.int32(70_000), "tiff"), "70000"),
    "16 bits in planes": (planes(16), "TIFF of 3 x 16 bits in separate planes .*convert it to PNG"),
    "signed 8 bits": (encoded(flat("L", 9), "tiff", tiffinfo={339: 2}), "1 x 8 signed bits"),
    "float, white is 0": (
        retagged(deep(np.float32(0.5), "tiff"), _262=(1, 0)),
        "1 x 32 floating-point bits .photometric interpretation 0",
    ),
    "64-bit float": (retagged(deep(np.float32(0.5), "tiff"), _258=(32, 64)), "64 floating-point"),
    "16-bit float": (retagged(deep(np.float32(0.5), "tiff"), _258=(32, 16)), "16 floating-point"),
    "unknown compression": (retagged(deep(np.uint16(9), "tiff"), _259=(1, 99)), "compression 99"),
    "not a number": (deep(np.float32("nan"), "tiff"), "nan"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_refused_by_name(name):
    data, message = DAMAGED[name]
    with pytest.raises(UserError, match=message) as refused:
        decode(data, 8, 3, name="frogs/one.png")
    assert str(refused.value).startswith("frogs/one.png ")


@pytest.mark.parametrize("seed", range(3))
def test_no_damage_gets_past(seed):
    """Bytes flipped at random: a picture or a refusal, never another error."""
    r = np.random.default_rng(seed)
    for form in ("png", "jpeg", "gif", "webp", "bmp", "tiff"):
        for _ in range(8):
            data = np.frombuffer(encoded(NOISE, form), np.uint8).copy()
            data[r.integers(0, len(data), 6)] = r.integers(0, 256, 6)
            with contextlib.suppress(UserError):
                assert decode(data.tobytes(), 8, 3).shape == (8, 8, 3)


def test_unknown_wishes_are_refused():
    data = encoded(flat("RGBA", (*RED, 128)))
    for wish, message in [
        ({"channels": 2}, "not 2"),
        ({"fit": "squeeze"}, "squeeze"),
        ({"background": "blu"}, "blu"),
    ]:
        with pytest.raises(ValueError, match=message):
            decode(data, 8, **({"channels": 3} | wish))
