"""Odd image files, links and archives are read as expected, or rejected with a reason."""

import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from wgan_jax.data import Folder
from wgan_jax.errors import UserError

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("own_cache")]


def encoded(seed=0):
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    Image.fromarray(noise).save(file, "png")
    return file.getvalue()


def opened(path, **settings):
    return Folder(path=str(path), **{"image_size": 8, "channels": 3, **settings}).open()


def tar_of(path, count, mode="w"):
    with tarfile.open(path, mode) as tar:
        for i in range(count):
            info = tarfile.TarInfo(f"{i}.png")
            info.size = len(encoded(i))
            tar.addfile(info, io.BytesIO(encoded(i)))
    return path


def headers(path):
    with tarfile.open(path) as tar:
        return [info.offset for info in tar]


@pytest.mark.parametrize("damage", ["cut in a header", "cut between files", "a header overwritten"])
def test_a_damaged_tar_is_never_taken_for_a_shorter_one(damage, tmp_path):
    path = tar_of(tmp_path / "a.tar", 6)
    content, third = path.read_bytes(), headers(path)[3]
    path.write_bytes(
        {
            "cut in a header": content[: third + 100],
            "cut between files": content[:third],
            "a header overwritten": content[:third] + b"x" * 512 + content[third + 512 :],
        }[damage]
    )
    with pytest.raises(UserError, match=r"a\.tar is a damaged tar: there is no end after 3 files"):
        opened(path)


@pytest.mark.parametrize("form", ["zip", "gz", "bz2", "xz"])
def test_an_archive_cut_in_half_is_told_as_damaged(form, tmp_path):
    path = tmp_path / f"a.{form}"
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for i in range(4):
                archive.writestr(f"{i}.png", encoded(i))
    else:
        tar_of(path, 4, f"w:{form}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="damaged") as error:
        opened(path)
    assert str(error.value).count("\n") == 0
    assert str(path) in str(error.value)


def test_a_stream_that_is_no_tar_is_told(tmp_path):
    (tmp_path / "a.xz").write_bytes(lzma.compress(b"no tar"))
    with pytest.raises(UserError, match="cannot be read"):
        opened(tmp_path / "a.xz")


def test_links_in_archives_are_followed_within_or_counted(tmp_path, caplog):
    def add(tar, name, kind, target=""):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        tar.addfile(info)

    tar_of(tmp_path / "a.tar", 2)
    with tarfile.open(tmp_path / "a.tar", "a") as tar:
        add(tar, "same.png", tarfile.LNKTYPE, "1.png")
        add(tar, "gone.png", tarfile.LNKTYPE, "/etc/passwd")
        add(tar, "soft.png", tarfile.SYMTYPE, "1.png")
        add(tar, "pipe.png", tarfile.FIFOTYPE)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for i in range(2):
            archive.writestr(f"{i}.png", encoded(i))
        link = zipfile.ZipInfo("soft.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "1.png")
    for name, size, passed in (("a.tar", 3, "3 files"), ("a.zip", 2, "1 file")):
        caplog.clear()
        with caplog.at_level("INFO", "wgan_jax"):
            data = opened(tmp_path / name)
        assert data.size == size
        assert any(f"skipped {passed}" in line and "link" in line for line in caplog.messages)
        if name == "a.tar":  # 0.png, 1.png, same.png
            np.testing.assert_array_equal(data.examples[1], data.examples[2])


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
def test_images_without_a_suffix_are_found_in_archives_too(form, tmp_path):
    path, files = tmp_path / f"a.{form}", {"one": encoded(1), "two.png": encoded(2), "no": b"text"}
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz" if form == "tar.gz" else "w") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    assert opened(path).size == 2


def test_a_link_that_leads_to_itself_is_passed_over_or_named(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    for i in range(3):
        (root / f"{i}.png").write_bytes(encoded(i))
    for name in (".hidden", "loop"):
        os.symlink(name, root / name)
    assert opened(root).size == 3
    os.symlink("loop.png", root / "loop.png")
    with pytest.raises(UserError, match=r"loop\.png"):
        opened(root)
    assert opened(root, broken="skip").size == 3


def png(depth, color, pixels, clear):
    """A PNG by hand: rows of packed bytes, and a color that stands for transparency."""

    def chunk(kind, content):
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 8, len(pixels), depth, color, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(row) for row in pixels))
    parts = [
        chunk(b"IHDR", header),
        chunk(b"tRNS", clear),
        chunk(b"IDAT", rows),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("depth", "color", "row", "clear", "shows"),
    [
        (1, 0, [0b11110000], b"\0\1", [1] * 4 + [0] * 4),
        (2, 0, [0b10101010, 0b11111111], b"\0\2", [1] * 4 + [0] * 4),
        (4, 0, [0x33, 0x33, 0x77, 0x77], b"\0\3", [1] * 4 + [0] * 4),
        (8, 0, [9] * 4 + [80] * 4, b"\0\x09", [1] * 4 + [0] * 4),
        (16, 2, [1, 2] * 12 + [3, 4] * 12, b"\1\2" * 3, [1] * 4 + [0] * 4),
    ],
    ids=["1 bit", "2 bits", "4 bits", "8 bits", "16 bits, color"],
)
def test_the_transparent_color_of_a_png_lets_the_background_show(
    depth, color, row, clear, shows, tmp_path
):
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(png(depth, color, [row] * 8, clear))
    (pixels, _) = opened(tmp_path, background="#ff0000").examples
    is_red = (pixels == [255, 0, 0]).all(-1)
    np.testing.assert_array_equal(is_red, np.array([shows] * 8, bool))


def test_a_picture_of_floats_is_as_bright_as_it_says(tmp_path):
    values = np.tile(np.linspace(0, 1, 8, dtype="<f4"), (8, 1))
    for i in range(2):
        (tmp_path / f"{i}.pgm").write_bytes(b"Pf\n8 8\n-1.0\n" + values.tobytes())
    (pixels, _) = opened(tmp_path, channels=1).examples
    np.testing.assert_array_equal(pixels[..., 0], np.round(255 * values))
