"""Folders of images and archives are decoded as expected, held out in part, and streamed."""

import io
import os
import shutil
import tarfile

import jax
import numpy as np
import pytest
from image_folders import SIDE, classes, noise, opened, write
from PIL import Image, ImageOps

from wgan_jax.data import Folder, decoded_images

pytestmark = pytest.mark.usefixtures("own_cache")


def images(path, **options):
    return np.asarray(jax.tree.leaves(opened(path, **options).examples)[0])


def odd_files(root):
    """Writes images of every kind that Pillow can write, links, and files that are no images."""
    color = Image.fromarray(noise(1))
    alpha = Image.fromarray(noise(2, 4))
    deep = np.random.default_rng(3).integers(0, 2**16, (SIDE, SIDE)).astype(np.uint16)
    palette = color.quantize(16)
    plain = {
        **{f"mode {mode}.png": color.convert(mode) for mode in ("1", "L", "LA", "P", "RGB")},
        "alpha.png": alpha,
        "alpha.webp": alpha,
        "grey alpha.tiff": alpha.convert("LA"),
        "palette.gif": palette,
        "sixteen bits.png": Image.fromarray(deep),
        "sixteen bits.tif": Image.fromarray(deep),
        "cmyk.tiff": color.convert("CMYK"),
        "cmyk.jpg": color.convert("CMYK"),
        "grey.jpeg": color.convert("L"),
        "color.jpg": color,
        "color.bmp": color,
        "color.ppm": color,
        "UPPER.PNG": color,
        "Mixed.JpG": color,
        "grün 日本語 🐸.png": color,
        f"{'n' * 196}.png": color,
        "without suffix": color,
    }
    for name, image in plain.items():
        image.save(root / name, "png" if "." not in name else None)
    palette.save(root / "clear palette.png", transparency=3)
    color.save(root / "clear color.png", transparency=tuple(noise(1)[0, 0].tolist()))
    frames = [Image.fromarray(noise(10 + i)) for i in range(3)]
    for name in ("animated.gif", "animated.webp", "animated.png"):
        frames[0].save(root / name, save_all=True, append_images=frames[1:])
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        color.save(root / f"turned {turn}.png", exif=exif)
    write(root / "below" / "further" / "deep.png", 20)
    (root / "link.png").symlink_to(root / "color.bmp")
    elsewhere = write(root.parent / "elsewhere" / "there.png", 21)
    (root / "link to a folder").symlink_to(elsewhere.parent)
    (root / "below" / "and back").symlink_to(root)
    for name in (".hidden.png", ".DS_Store", "Thumbs.db", "notes.txt", "labels.csv"):
        (root / name).write_bytes(b"no image")
    os.mkfifo(root / "pipe.png")


def as_pillow_has_it(path):
    """The image as Pillow reads it: upright, over black, in eight bits."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(path.read_bytes())))
    if image.mode.startswith("I"):
        values = np.round(np.asarray(image) / 257).astype(np.uint8)
        return np.repeat(values[..., None], 3, -1)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return np.asarray(image.convert("RGB"))


def test_every_kind_of_file_comes_out_as_pillow_converts_it(tmp_path, caplog):
    root = tmp_path / "odd"
    root.mkdir()
    odd_files(root)
    with caplog.at_level("INFO", "wgan_jax"):
        data = opened(root)
    (kinds,) = [line for line in caplog.messages if line.startswith("skipped")]
    assert kinds.startswith("skipped 6 files")
    for kind in (".DS_Store 1", "Thumbs.db 1", ".txt 1", ".csv 1", "hidden 1", ".png 1"):
        assert kind in kinds
    passed = (".hidden.png", ".DS_Store", "Thumbs.db", "notes.txt", "labels.csv", "pipe.png")
    names = [entry.name for entry in root.iterdir() if not entry.is_dir()]
    names += ["below/further/deep.png", "link to a folder/there.png"]
    names = sorted(set(names) - set(passed))
    assert len(names) == data.size == 38
    for name, pixels in zip(names, data.examples, strict=True):
        np.testing.assert_array_equal(pixels, as_pillow_has_it(root / name), err_msg=name)


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
def test_an_archive_is_read_as_the_folder_in_it(form, tmp_path):
    root = classes(tmp_path / "pets")
    write(root / "._cat.png")
    archive = tmp_path / f"pets.{form}"
    if form == "zip":
        shutil.make_archive(str(tmp_path / "pets"), "zip", tmp_path, "pets")
    else:
        with tarfile.open(archive, "w:gz" if form == "tar.gz" else "w") as tar:
            tar.add(root, "./pets")
    one, other = (opened(path, labels=True) for path in (root, archive))
    assert one.class_names == other.class_names == ("cat", "dog")
    for x, y in zip(one.examples, other.examples, strict=True):
        np.testing.assert_array_equal(x, y)
    assert one.fingerprint() == other.fingerprint()


def test_sizes_need_not_be_square_and_images_are_fitted(tmp_path):
    write(tmp_path / "in" / "a.png")
    Image.new("L", (40, 20), 200).save(tmp_path / "in" / "wide.png")
    for size, fit in (((12, 24), "pad"), ((12, 24), "crop"), ((8, 4), "stretch")):
        found = Folder(path=str(tmp_path / "in"), image_size=size, channels=1, fit=fit)
        x = found.open().examples
        assert x.shape == (2, *size, 1)
        assert found.struct(5).shape == (5, *size, 1)
        assert (x[1] == 200).all() == (fit != "pad" or size == (12, 24))


def test_held_out_images_are_the_same_everywhere_and_never_trained_on(tmp_path):
    root = classes(tmp_path / "a", 30)
    shutil.copy(root / "cat" / "0.png", root / "dog" / "twin.png")
    moved = shutil.copytree(root, tmp_path / "b" / "elsewhere")
    parts = []
    for path in (root, moved):
        data = opened(path, held_out=0.3)
        parts.append([{x.tobytes() for x in part.examples} for part in (data, data.held_out())])
        assert data.size + data.held_out().size == 61
    assert parts[0] == parts[1]
    assert not parts[0][0] & parts[0][1]
    assert 8 < len(parts[0][1]) < 28
    assert opened(root).held_out() is None


def test_a_folder_with_train_and_test_is_used_as_it_is(tmp_path):
    classes(tmp_path / "in" / "train", 3)
    classes(tmp_path / "in" / "test", 2)
    data = opened(tmp_path / "in", labels=True, held_out=0.5)
    assert data.class_names == data.held_out().class_names == ("cat", "dog")
    assert data.class_labels().tolist() == [0, 0, 0, 1, 1, 1]
    assert data.held_out().class_labels().tolist() == [0, 0, 1, 1]
    test = images(tmp_path / "in" / "test")
    np.testing.assert_array_equal(data.held_out().examples[0], test)
    assert data.config.summary() == (data.size, ("cat", "dog"))
    shutil.rmtree(tmp_path / "in" / "test")
    alone = opened(tmp_path / "in", labels=True)
    assert alone.class_names == ("cat", "dog")
    assert alone.size == 6


def test_images_are_decoded_once_until_one_of_them_changes(tmp_path, monkeypatch):
    root = classes(tmp_path / "in")
    first = images(root)
    decode, decoded = decoded_images.decode, []
    monkeypatch.setattr(
        decoded_images, "decode", lambda *a, **k: decoded.append(1) or decode(*a, **k)
    )
    np.testing.assert_array_equal(images(root), first)
    opened(root, labels=True, held_out=0.3)
    assert not decoded
    changed = root / "cat" / "0.png"
    before = changed.stat()
    write(changed, 77)
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (images(root)[0] == noise(77)).all()
    assert len(decoded) == 8
    killed = tmp_path / "cache" / "wgan_jax" / f".wgan_jax-{'0' * 16}.part"
    killed.mkdir()
    (rows,) = killed.parent.glob("images-*/images.npy")
    os.truncate(rows, 1_000)
    assert (images(root)[0] == noise(77)).all()
    assert len(decoded) == 16
    assert not killed.exists()
    for i, size in enumerate((0, 100), 3):
        (hashes,) = killed.parent.glob("images-*/hashes.npy")
        os.truncate(hashes, size)
        assert (images(root)[0] == noise(77)).all()
        assert len(decoded) == 8 * i


def test_a_start_lists_a_folder_once(tmp_path, monkeypatch):
    root = classes(tmp_path / "in", 5)
    config = Folder(path=str(root), image_size=SIDE, labels=True, held_out=0.4)
    scan, scanned = os.scandir, []
    monkeypatch.setattr(os, "scandir", lambda path: scanned.append(str(path)) or scan(path))

    def seen():
        listed = [path for path in scanned if path.startswith(str(root))]
        scanned.clear()
        return sorted(listed)

    once = sorted(map(str, (root, root / "cat", root / "dog")))
    for how_often in range(2):
        assert config.num_classes() == 2
        data = config.open()
        assert data.held_out().size + data.size == 10 - how_often
        assert seen() == once
        (root / "cat" / "0.png").unlink(missing_ok=True)
    config.num_classes()
    write(root / "bird" / "new.png", 7)
    write(root / "bird" / "other.png", 8)
    assert config.open().class_names == ("bird", "cat", "dog")


def test_what_is_too_large_for_the_device_is_a_stream_of_the_same_data(tmp_path, monkeypatch):
    root = classes(tmp_path / "in")
    whole = opened(root, labels=True, held_out=0.4)
    monkeypatch.setattr(decoded_images, "device_room", lambda: 0)
    stream = opened(root, labels=True, held_out=0.4)
    assert stream.is_stream
    assert stream.fingerprint() == whole.fingerprint()
    assert stream.struct(3) == whole.struct(3)
    assert stream.class_labels().tolist() == whole.class_labels().tolist()
    x, labels = next(stream.batches(seed=0, batch_size=whole.size, first=0))
    order = np.argsort([image.tobytes() for image in x], axis=0)
    expected = np.argsort([image.tobytes() for image in whole.examples[0]])
    np.testing.assert_array_equal(x[order], whole.examples[0][expected])
    np.testing.assert_array_equal(labels[order], whole.examples[1][expected])
    assert stream.held_out().is_stream


@pytest.mark.parametrize("room", [0, 2**30])
def test_an_epoch_with_flips_visits_each_image_and_its_mirror_image(room, tmp_path, monkeypatch):
    monkeypatch.setattr(decoded_images, "device_room", lambda: room)
    root = classes(tmp_path / "in", 2)
    data = opened(root, labels=True, flip=True)
    assert data.size == 8
    assert data.class_labels().tolist() == [0, 0, 1, 1] * 2
    x, labels = next(data.draws(jax.random.key(0), 8, 1))
    pixels = np.round((np.asarray(x) + 1) * 127.5).astype(np.uint8)
    seen = {(image.tobytes(), label) for image, label in zip(pixels, labels.tolist(), strict=True)}
    plain = [(noise(100 * k + i), k) for k in range(2) for i in range(2)]
    assert seen == {
        (np.ascontiguousarray(v).tobytes(), k) for x, k in plain for v in (x, x[:, ::-1])
    }
