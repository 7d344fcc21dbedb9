"""Folders that cannot be used are refused with the name of the file at fault."""

import io
import os
import tarfile
import warnings
import zipfile

import pytest
from image_folders import classes, noise, opened, write
from PIL import Image

from wgan_jax.data import Folder
from wgan_jax.errors import UserError

pytestmark = pytest.mark.usefixtures("own_cache")


def broken(name, content):
    def make(root):
        classes(root)
        (root / "cat" / name).write_bytes(content)

    return make


def encoded(form="png"):
    file = io.BytesIO()
    Image.fromarray(noise(0)).save(file, form)
    return file.getvalue()


def dangling(root):
    classes(root)
    (root / "cat" / "gone.png").symlink_to(root / "nowhere")


def one_in_class(root):
    classes(root)
    write(root / "cow" / "only.png")


def loose(root):
    classes(root)
    write(root / "loose.png", 9)


def beside_a_split(root):
    for part in ("train", "test"):
        classes(root / part)
    write(root / "cover.png", 9)


BAD = {
    "beside a split": (beside_a_split, "cover.png is beside the folders test, train"),
    "cut short": (broken("cut.png", encoded()[:200]), "cat/cut.png cannot be decoded"),
    "cut jpeg": (broken("cut.jpg", encoded("jpeg")[:300]), "cat/cut.jpg cannot be decoded"),
    "empty file": (broken("void.png", b""), "cat/void.png cannot be decoded: it is empty"),
    "text": (broken("text.JPG", b"hello"), "cat/text.JPG cannot be decoded"),
    "link to nothing": (dangling, "cat/gone.png cannot be read: No such file"),
    "empty folder": (lambda root: root.mkdir(), "holds no images"),
    "other files": (lambda root: broken("a.txt", b"")(root.parent / "x") or root.mkdir(), "no im"),
    "one image": (lambda root: write(root / "only.png"), "holds one image, only.png"),
    "one in a class": (one_in_class, "the class cow of .* has one image"),
    "no class": (loose, "one image is in no class folder of .*, such as loose.png"),
    "missing": (lambda root: None, "there is no folder, zip or tar"),
    "a file": (lambda root: root.write_text("a"), "neither a zip nor a tar"),
}


def test_damaged_metadata_are_passed_over_in_silence(tmp_path):
    root = classes(tmp_path / "pets")
    write(root / "cat" / "odd.jpg", exif=b"Exif\0\0MM\0*" + b"\xff" * 40)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert opened(root).size == 9
    assert not seen


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_told_with_its_name(name, tmp_path):
    make, told = BAD[name]
    make(tmp_path / "in")
    with pytest.raises(UserError, match=told) as error:
        opened(tmp_path / "in", labels=True)
    assert "\n" not in str(error.value)


def test_broken_images_are_left_out_and_counted_where_that_is_asked_for(tmp_path, caplog):
    root = tmp_path / "in"
    broken("void.png", b"")(root)
    (root / "cat" / "0.png").write_bytes(encoded()[:200])
    with pytest.raises(UserError, match=r"cat/0.png cannot be decoded.*\(and 1 others\)"):
        opened(root)
    with caplog.at_level("INFO", "wgan_jax"):
        assert opened(root, broken="skip").size == 7
    assert "skipped 2 broken images, such as cat/0.png" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path):
    root = classes(tmp_path / "in")
    (root / "dog" / "1.png").chmod(0)
    with pytest.raises(UserError, match=r"dog/1.png cannot be read: Permission denied"):
        opened(root)
    (root / "dog").chmod(0)
    with pytest.raises(UserError, match="dog cannot be read: Permission denied"):
        opened(root)
    (root / "dog").chmod(0o700)


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot be written: Not a directory; set XDG_CACHE_HOME"):
        opened(classes(tmp_path / "in"))


def test_archives_that_lead_out_or_unpack_without_end_are_refused(tmp_path, monkeypatch):
    for name in ("../out.png", "/out.png", "a/../../out.png", "..\\out.png", "C:\\out.png"):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr(name, encoded())
        with pytest.raises(UserError, match="leads out of it"):
            opened(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.png", bytes(2**22))
    monkeypatch.setattr("wgan_jax.data.image_files._MOST_UNPACKED", 2**20)
    monkeypatch.setattr("wgan_jax.data.image_files._MOST_RATIO", 10)
    with pytest.raises(UserError, match="unpacks to more"):
        opened(tmp_path / "bomb.zip")
    (tmp_path / "cut.tar").write_bytes(tarfile.TarInfo("a.png").tobuf() + b"x")
    with pytest.raises(
        UserError, match=r"damaged tar|cannot be decoded|holds no images|cannot be read"
    ):
        opened(tmp_path / "cut.tar")


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"image_size": 0}, "image_size"),
        ({"image_size": (8, 8, 3)}, "image_size"),
        ({"channels": 2}, "channels"),
        ({"held_out": 1.0}, "held_out"),
        ({"background": "grueen"}, "background"),
        ({"fit": "squeeze"}, "fit"),
        ({"broken": "repair"}, "broken"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(bad, named):
    with pytest.raises(ValueError, match=named):
        Folder(**bad)


def test_a_class_without_images_to_train_on_is_refused(tmp_path):
    for where in ("train/a", "test/a", "test/b"):
        (tmp_path / where).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / where / f"{i}.png")
    with pytest.raises(UserError, match=r"all images of the class b of .* are held out"):
        Folder(path=str(tmp_path), image_size=4, labels=True).open()


def test_a_fraction_that_holds_out_no_images_is_refused(tmp_path):
    classes(tmp_path / "pets")
    with pytest.raises(UserError, match=r"held-out 1e-09 leaves 0 of .* choose a larger fraction"):
        Folder(path=str(tmp_path / "pets"), image_size=8, held_out=1e-9).open()
