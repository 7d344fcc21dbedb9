"""Bad configs, flags and data sets, from user errors and broken disks."""

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
    "--n-critic 10000000000": "config.n_critic must be between",
    f"--n-critic {10**400}": "config.n_critic must be between",
    "--batch-size 4294967296": "config.batch_size",
    f"--generator.features {10**30}": "config.generator.features",
    f"--critic-optimizer.learning-rate {10**400}": "finite",
    "--critic-optimizer.learning-rate inf": "finite",
    "--critic-optimizer.learning-rate nan": "learning_rate",
    "--critic-optimizer.learning-rate -1": "negative",
    "--dataset.std 1e999": "finite",
    "--devices -1": "whole number",
    f"--devices {'9' * 5000}": "whole number",
    "--devices ²": "whole number",
    "--join-timeout 0": "whole number",
    "--distributed=": "auto, on, off",
    "--workdir=": "needs a value",
    "--workdir ~nobody-of-this-name/run": "no home folder",
    f"--config {'a' * 5000}.py": "too long",
    f"--workdir {'a' * 5000}": "too long",
    "--workdir": "needs a value",
    "--config": "needs a value",
    "surplus": "surplus",
    "--config configs/nonesuch.py": "there is no config file",
    "--config configs/digit.py": "configs/digits.py",
    "--config configs": "is a folder",
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
    '{"n_critic": 1e400}': "finite",
    '{"n_critic": 10000000000}': "between",
    '{"dataset": {"type": "Rink"}}': "Ring",
    '{"dataset": {"type": "__import__(\'os\')"}}': "unknown",
    '{"dataset": "Ring"}': "object",
    '{"generator": {"type": "MLP", "features": [1, "2"]}}': "list of int",
    '{"generator": {"type": "MLP", "features": 16}}': "list of int",
    '{"clip": {"c": -1}}': "positive",
    '{"clip": {"c": NaN}}': "finite",
    '{"penalty": {"type": "GradientPenalty", "weight": "10"}}': "float",
    '{"tensorboard": "yes"}': "bool",
}


COMMANDS = {
    # RUN stands for a workdir that holds a config and nothing else, FILE for an empty file.
    "nonesuch": "known: train",
    "sampel RUN": "did you mean sample",
    "report": "one workdir",
    "report FILE": "no workdir",
    "report RUN RUN": "needs --out FILE.html",
    "report RUN --out x": "should end in .html",
    "sample RUN --nmu 3 --out x.png": "did you mean --num",
    "sample RUN": "needs --out",
    "sample RUN --out=": "needs a value",
    "sample RUN --out x.jpeg": "should end in",
    "sample RUN --out FILE/x.png": "cannot be written",
    "sample RUN --out /dev/null/x.png": "cannot be written",
    "sample RUN --out /proc/x.png": "cannot be written",
    f"sample RUN --out {'a' * 5000}.png": "too long",
    f"sample RUN --out x.png --num {'9' * 5000}": "whole number",
    "sample RUN --out x.png --num ٣": "whole number",
    "sample RUN --out x.png --seed -1": "whole number",
    "sample RUN --out x.png --truncation nan": "positive",
    "sample RUN --out x.gif": "--interpolate",
    "evaluate RUN --metrics w1,nonesuch": "choose from",
    "evaluate RUN --metrics=": "unknown metric",
    "evaluate RUN --num 0": "whole number",
    "evaluate RUN --nums 9": "did you mean --num",
    "evaluate RUN": "no checkpoint",
    "features": "one data set",
    "features digits": "needs --out",
    "features digits --out x.txt": "should end in",
    "features digits --out FILE/x.npz": "cannot be written",
    "features digits --out /proc/x.npz": "cannot be written",
    "features mnist --out x.npz --channels 0": "whole number",
    "features nonesuch --out x.npz --data-dir /nonesuch": "not prepared",
    "reproduce": "one figure",
    "reproduce fig1 fig2": "one figure",
    "reproduce fig1 --seeds 0": "whole number",
    "reproduce fig1 --size huge": "quick, default, real, full",
    "reproduce fig1 --sieze quick": "did you mean --size",
    "reproduce fig1 --out FILE": "cannot be written",
    "reproduce fig1 --out /proc/x": "cannot be written",
    "prepare": "one data set",
    "prepare nonesuch": "choose from",
    "prepare mnist --manual-dir FILE": "is not a folder",
    "prepare mnist --manual-dir RUN": "lacks the official",
}


def command_args(text, folder):
    """The words of a row of COMMANDS, with what its names stand for in a folder."""
    (folder / "run").mkdir()
    (folder / "run/config.json").write_text("{}", encoding="utf-8")
    (folder / "file").write_bytes(b"")
    for name in ("run", "file"):
        text = text.replace(name.upper(), str(folder / name))
    return text.split()


OWN_PARTS = """
import dataclasses
from wgan_jax.experiment.config import Config, Ring

@dataclasses.dataclass(frozen=True, kw_only=True)
class Mine:
    n: int = 1

class Ring(Ring):
    pass

def get_config():
    return Config(PART)
"""
PARTS = {
    # What a config in Python may be given, with a word of what is told.
    "dataset=Mine()": '"Mine" is unknown; known: Ring',
    "dataset=Ring()": "class Ring of its own",
    "dataset=print": "config.json",
    "generator=None": "must be an object",
    "n_critic=2.5": "n_critic must be int",
    "batch_size=10**400": "batch_size must be between",
    "ema_decay=__import__('numpy').float32(0.5)": "float32",
    "steps=True": "steps must be int",
}


def flag_args(text, workdir):
    """The words of a row of FLAGS, with a workdir unless it brings its own."""
    words = text.split()
    return words if "--workdir" in text else [*words, "--workdir", str(workdir)]


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


def noise_images(count, size=8):
    """Encoded images no two of which are alike."""
    files = [io.BytesIO() for _ in range(count)]
    for i, file in enumerate(files):
        pixels = np.random.default_rng(i).integers(0, 256, (size, size), np.uint8)
        Image.fromarray(pixels).save(file, "png")
    return [file.getvalue() for file in files]


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
