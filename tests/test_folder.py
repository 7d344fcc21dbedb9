"""Folders of images: each file is read as expected, and every error names its file."""

import io
import json
import os
import shutil
import signal
import tarfile
import threading
import time
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image, ImageOps

from wgan_jax.__main__ import main
from wgan_jax.cli.common import run_command
from wgan_jax.cli.train import train as train_command
from wgan_jax.data import Folder, decoded_images
from wgan_jax.errors import UserError

SIDE = 16


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def noise(seed, channels=3, shape=(SIDE, SIDE)):
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, channels), np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def write(path, seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed)).save(path, **options)
    return path


def classes(root, count=4, names=("cat", "dog")):
    for k, name in enumerate(names):
        for i in range(count):
            write(root / name / f"{i}.png", 100 * k + i)
    return root


def opened(path, **options):
    return Folder(path=str(path), image_size=SIDE, **options).open()


def images(path, **options):
    return np.asarray(jax.tree.leaves(opened(path, **options).examples)[0])


def odd_files(root):
    """Files of every kind that Pillow writes, as it is used to."""
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
    """Upright, over black, in eight bits."""
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


BAD = {
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


def train(root, workdir, *args):
    small = ["--generator.filters", "2", "--critic.filters", "2", "--n-critic", "1"]
    small += ["--penalty", "none", "--generator.norm", "none", "--critic.norm", "none"]
    small += ["--ema-decay", "0", "--generator-optimizer", "sgd", "--critic-optimizer", "sgd"]
    small += ["--batch-size", "4", "--chunk", "1", "--log-every", "1", "--evaluate-every", "0"]
    what = ["--dataset", "folder", "--dataset.path", str(root), "--dataset.image-size", "8", "12"]
    return run_command(train_command, [*what, *small, "--workdir", str(workdir), *args])


def test_a_folder_is_trained_on_sampled_by_the_name_of_a_class_and_evaluated(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("wgan_jax.experiment.evaluation.transport._POINTS", 8)
    root = classes(tmp_path / "pets", 12, ("cat", "dog", "frog"))
    run = tmp_path / "run"
    options = ["--dataset.labels", "--dataset.held-out", "0.3", "--devices", "1", "--steps"]
    assert train(root, run, *options, "2") == 0
    told = capsys.readouterr().out
    held_out = Folder(path=str(root), held_out=0.3).open_held_out().size
    assert "classes: cat " in told
    assert f"{36 - held_out:,} examples; a critic of " in told
    assert "4 a batch on 1 cpu device" in told
    found = json.loads((run / "evaluation.json").read_text())
    assert found["w1/held_out/points"] == held_out
    assert json.loads((run / "schema.json").read_text())["class_names"] == ["cat", "dog", "frog"]
    shutil.rmtree(root)
    out = tmp_path / "frogs.npz"
    for label in ("frog", "2"):
        what = ["--label", label, "--num", "3", "--out", str(out), "--force"]
        assert main(["sample", str(run), *what]) == 0
        with np.load(out) as arrays:
            assert arrays["samples"].shape == (3, 8, 12, 3)
            assert arrays["labels"].tolist() == [2] * 3
    with pytest.raises(UserError, match=r"no class 'frogs'; did you mean frog\?"):
        main(["sample", str(run), "--label", "frogs", "--out", str(tmp_path / "x.png")])


def test_labelled_images_are_streamed_into_training(tmp_path, monkeypatch):
    monkeypatch.setattr("wgan_jax.cli.evaluate.summarize_run", lambda *_: None)
    monkeypatch.setattr(decoded_images, "device_room", lambda: 0)
    root, run = classes(tmp_path / "pets"), tmp_path / "run"
    assert train(root, run, "--dataset.labels", "--dataset.flip", "--steps", "2") == 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(0 <= line["time/data_wait"] <= 1 for line in lines)


def test_a_signal_stops_decoding_at_once_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    root, decode, decoded = classes(tmp_path / "pets", 40), decoded_images.decode, []
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals come to the main thread")

    def slow(*args, **options):
        decoded.append(1)
        if len(decoded) == 10:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        return decode(*args, **options)

    monkeypatch.setattr(decoded_images, "decode", slow)
    assert train(root, tmp_path / "run") == 143
    assert len(decoded) < 30
    said = capsys.readouterr().err
    assert said == "stopped by SIGTERM while it was opened, nothing is lost\n"
    assert not [*(tmp_path / "cache" / "wgan_jax").iterdir()]
    monkeypatch.setattr(decoded_images, "decode", decode)
    assert opened(root).size == 80


def test_networks_that_cannot_make_the_images_are_told_before_data_are_read(tmp_path, capsys):
    root = tmp_path / "nowhere"
    bad = {
        "--dataset.image-size=30": "multiples of 4",
        "--generator.image-size=16": "images of 8 x 12 x 3, but DCGANGenerator is for 16 x 16 x 3",
        "--dataset.path=": "needs a --dataset.path",
    }
    for flag, said in bad.items():
        assert train(root, tmp_path / "run", flag) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


def test_a_class_without_images_to_train_on_is_refused(tmp_path):
    for where in ("train/a", "test/a", "test/b"):
        (tmp_path / where).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / where / f"{i}.png")
    with pytest.raises(UserError, match=r"all images of the class b of .* are held out"):
        Folder(path=str(tmp_path), image_size=4, labels=True).open()


def test_networks_that_do_not_go_with_a_penalty_are_refused_before_data_are_read(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = ["--dataset", "folder", "--dataset.path", "there/is/none", "--dataset.image-size"]
    networks = ["--generator", "dcgan-generator", "--critic", "dcgan-critic", "--devices", "1"]
    penalty = ["--clip", "none", "--penalty", "gradient-penalty"]
    assert run_command(train_command, [*command, "16", *networks, *penalty]) == 2
    assert "depend on other samples of the batch" in capsys.readouterr().err
