"""Bad configs, flags and data sets, as people and broken disks make them."""

import gzip
import io
import shutil
import struct
import tarfile
import zlib

import numpy as np
from PIL import Image

_DIGITS, _LABELLED = "configs/digits.py", "configs/digits_conditional.py"

FLAGS = {
    # Each with a word of what is told.
    "--n-critik 3": "--n-critic",
    "--n-critic many": "many",
    "--n-critic 0": "n_critic must be at least 1",
    "--n-critic -1": "n_critic",
    "--n-critic 2.5": "2.5",
    "--batch-size 0": "batch_size",
    "--steps 0": "steps must be at least 1",
    "--steps 1e4": "1e4",
    "--chunk 0": "chunk",
    "--log-every 0": "log_every",
    "--checkpoint-every -5": "checkpoint_every",
    "--keep-checkpoints 0": "keep_checkpoints",
    "--evaluate-every -1": "evaluate_every",
    "--seed -1": "seed",
    "--seed 4294967296": "seed",
    "--ema-decay 1": "ema_decay",
    "--ema-decay nan": "ema_decay",
    "--unrolled-steps -1": "unrolled_steps",
    "--non-finite ignore": "ignore",
    "--tensorboard maybe": "maybe",
    "--clip.c 0": "positive",
    "--clip.c -1": "positive",
    "--clip.c nan": "positive",
    "--clip.c small": "small",
    "--clip box": "clip",
    "--critic mpl": "mlp",
    "--critic none": "none",
    "--generator gan": "mlp",
    "--penalty quadratic": "gradient-penalty",
    "--objective wasserstien": "wasserstein",
    "--dataset fashion": "ring",
    "--latent gaussian": "normal",
    "--critic-optimizer sgdd": "sgd",
    "--dataset.modes 0": "positive",
    "--dataset.std -1": "positive",
    "--generator.output-shape 3": "(3,)",
    "--critic.features 0": "positive",
    "--generator.num-classes 8": "generator.num_classes is 8",
    "--critic-optimizer.decay slow": "slow",
    "--critic-optimizer.decay-iterations 0": "decay_iterations",
    "--warmup warmup --warmup.n-critic 0": "warmup",
    "--adaptive adaptive --adaptive.block 0": "adaptive",
    "--adaptive adaptive --warmup warmup": "warmup",
    "--objective evidence-bound": "--clip none",
    "--objective evidence-bound --clip none": "mean and log-variance",
    "--penalty gradient-penalty --penalty.weight heavy": "heavy",
    "--workdir": "needs a value",
    "--config": "needs a value",
    "surplus": "surplus",
    "--config configs/nonesuch.py": "there is no config file",
    "--config configs/digit.py": "configs/digits.py",
    "--config configs": "there is no config file",
    "--config train.py": "get_config",
    f"--config {_DIGITS} --batch-size 1501": "1500",
    f"--config {_DIGITS} --dataset.split validation": "validation",
    f"--config {_DIGITS} --critic.image-size 12": "12",
    f"--config {_DIGITS} --generator.channels 0": "(8, 8, 0)",
    f"--config {_DIGITS} --critic.norm layers": "layers",
    f"--config {_LABELLED} --critic.norm batch": "layer norm",
    f"--config {_LABELLED} --dataset digits": "labels is False",
    "--config configs/fashion_mnist.py --dataset.data-dir /nonesuch": "prepare",
    "--config configs/cifar10.py --dataset.data-dir /nonesuch": "prepare",
    "--workdir /dev/null/run": "cannot be written",
}
CONFIGS = {
    "": "cannot be read",
    "{": "cannot be read",
    "[]": "must be an object",
    "null": "must be an object",
    "\xff\xfe": "",
    "[" * 100_000: "cannot be read",
    '{"n_critc": 3}': "n_critic",
    '{"n_critic": "3"}': "int",
    '{"n_critic": 3.0}': "int",
    '{"n_critic": true}': "int",
    '{"n_critic": 1e400}': "int",
    '{"dataset": {"type": "Rink"}}': "Ring",
    '{"dataset": {"type": "__import__(\'os\')"}}': "unknown",
    '{"dataset": "Ring"}': "object",
    '{"generator": {"type": "MLP", "features": [1, "2"]}}': "list of int",
    '{"generator": {"type": "MLP", "features": 16}}': "list of int",
    '{"clip": {"c": -1}}': "positive",
    '{"clip": {"c": NaN}}': "positive",
    '{"penalty": {"type": "GradientPenalty", "weight": "10"}}': "float",
    '{"tensorboard": "yes"}': "bool",
}


def flag_args(text, workdir):
    """The words of a row of FLAGS, with a workdir unless it brings its own."""
    words = text.split()
    return words if "--workdir" in words else [*words, "--workdir", str(workdir)]


# A prepared data set of a few PNGs, written by TFDS; and what a disk or a person may do to it.


def prepared(folder, images):
    """A TFDS data set `strange` of encoded images in `folder`."""
    import tensorflow_datasets as tfds

    folder.mkdir(parents=True, exist_ok=True)

    def generate():
        for i, image in enumerate(images):
            yield i, {"image": io.BytesIO(image), "label": i % 3}

    with tfds.core.registered.skip_registration():

        class Strange(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.0")
            pkg_dir_path = folder

            def _info(self):
                image = tfds.features.Image(shape=(None, None, 1), encoding_format="png")
                features = {"image": image, "label": tfds.features.ClassLabel(num_classes=3)}
                return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

            def _split_generators(self, manager):
                return {"train": generate()}

            def _generate_examples(self):
                return generate()

        builder = Strange(data_dir=folder, file_format="array_record")
        config = tfds.download.DownloadConfig(num_shards=1, try_download_gcs=False)
    tfds.disable_progress_bar()
    builder.download_and_prepare(download_config=config)
    return builder.data_path


def reading(data_dir, workdir):
    """Arguments of a run on `prepared` data."""
    words = "--config configs/digits.py --dataset tfds --dataset.name strange --batch-size 4"
    where = ["--dataset.data-dir", str(data_dir), "--workdir", str(workdir)]
    return [*words.split(), "--dataset.image-size", "8", "--steps", "1", *where]


def png(size=8, channels=1, mode="png"):
    shape = (size, size) if channels == 1 else (size, size, channels)
    file = io.BytesIO()
    Image.fromarray(np.full(shape, 7, np.uint8)).save(file, mode)
    return file.getvalue()


def deep():
    """A grey PNG of 16 bits."""
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), 700, np.uint16)).save(file, "png")
    return file.getvalue()


def bomb(side=40_000):
    """A PNG of a few bytes that says it is side x side pixels."""
    whole = bytearray(png())
    whole[16:24] = struct.pack(">II", side, side)
    whole[29:33] = struct.pack(">I", zlib.crc32(bytes(whole[12:29])))
    return bytes(whole)


GOOD = [png() for _ in range(8)]
IMAGES = {
    "an image that is text": [b"no picture at all", *GOOD],
    "an empty image": [b"", *GOOD],
    "a truncated image": [png(64)[:60], *GOOD],
    "a header alone": [png()[:33], *GOOD],
    "a bomb": [bomb(), *GOOD],
    "a bomb within the library's limit": [bomb(9_000), *GOOD],
    "no pixels": [bomb(0), *GOOD],
    "a flipped bit": [png(64)[:50] + b"\xff" + png(64)[51:], *GOOD],
    "a text file in its place": [b"%PDF-1.4", *GOOD],
    "too few": GOOD[:2],
}
FILES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "random": lambda path: path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size)),
    "deleted": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


def damaged_data(folder, source):
    """Each file of a prepared data set in each way of FILES: its name and a data_dir."""
    names = sorted(p.relative_to(source) for p in source.rglob("*") if p.is_file())
    for name in names:
        for how, damage in FILES.items():
            copy = folder / f"{how}-{name.name}".replace(" ", "-")
            shutil.copytree(source, copy)
            damage(copy / name)
            yield f"{name.name} {how}", copy


def downloads(folder):
    """Folders for `prepare --manual-dir`, each wrong in its way: name, data set, folder."""
    names = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in _IDX]
    whole = gzip.compress(bytes(100))
    wrong = {
        "no files": {},
        "one of four": {names[0]: whole},
        "not the official": dict.fromkeys(names, whole),
        "truncated": dict.fromkeys(names, whole[:10]),
        "empty": dict.fromkeys(names, b""),
        "no gzip": dict.fromkeys(names, b"nothing"),
    }
    for how, contents in wrong.items():
        place = folder / how.replace(" ", "-")
        place.mkdir()
        for name, data in contents.items():
            (place / name).write_bytes(data)
        yield how, "fashion_mnist", place
    place = folder / "traversing"
    place.mkdir()
    traversing_archive(place / "cifar-10-binary.tar.gz")
    yield "a traversing archive", "cifar10", place


_IDX = ("images-idx3", "labels-idx1")
_TEN = range(10)
EVIL = "evil-outside"


def traversing_archive(path, images=(), link=False):
    """CIFAR-10's archive, with members that lead out of the folder that it is extracted to.

    images: one in each training file and then the test file.
    link: whether the first of these is a link instead.
    """
    evil = [f"../{EVIL}", f"/tmp/{EVIL}", f"a/../../{EVIL}"]
    members = dict.fromkeys(evil, b"evil")
    members["cifar-10-batches-bin/batches.meta.txt"] = b"\n".join(b"class-%d" % i for i in _TEN)
    files = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for label, (file, image) in enumerate(zip(files, images, strict=False)):
        record = bytes([label]) + image.transpose(2, 0, 1).tobytes()
        members[f"cifar-10-batches-bin/{file}.bin"] = record
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if link and name.endswith("data_batch_1.bin"):
                member.type, member.size, member.linkname = tarfile.SYMTYPE, 0, "/etc/hostname"
            archive.addfile(member, io.BytesIO(data))
    return path
