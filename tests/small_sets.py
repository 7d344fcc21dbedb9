"""Small data sets with the features of TFDS data sets, written as ArrayRecord files."""

import io

import numpy as np
from PIL import Image

NAMES = {"lsun": "lsun/bedroom", "celeb_a": "celeb_a", "cifar10": "cifar10"}
_CONFIGS = {"lsun": "bedroom"}
_VERSIONS = {"lsun": "3.1.0", "celeb_a": "2.1.0", "cifar10": "3.0.2"}
_SHAPES = {"lsun": (70, 90, 3), "celeb_a": (218, 178, 3), "cifar10": (32, 32, 3)}


def encoded(pixels, form="png"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def grey(name, value):
    """A constant image of the size that the data set has."""
    form = "png" if name == "cifar10" else "jpeg"
    return encoded(np.full(_SHAPES[name], value, np.uint8), form)


def write(folder, name, images, labels=None):
    """Writes encoded images as a data set, by the short name of the one that it imitates."""
    import tensorflow_datasets as tfds

    def features():
        shape = _SHAPES[name] if name != "lsun" else (None, None, 3)
        form = "png" if name == "cifar10" else "jpeg"
        image = {"image": tfds.features.Image(shape=shape, encoding_format=form)}
        if name == "celeb_a":
            return image | {
                "attributes": {"Smiling": np.bool_, "Young": np.bool_},
                "landmarks": {"nose_x": np.int64},
            }
        return (
            {"id": tfds.features.Text()}
            | image
            | ({"label": tfds.features.ClassLabel(num_classes=10)} if name == "cifar10" else {})
        )

    def example(i, image):
        common = {"image": io.BytesIO(image)}
        if name == "celeb_a":
            attributes = {"Smiling": i % 2 == 0, "Young": i % 3 == 0}
            return common | {"attributes": attributes, "landmarks": {"nose_x": i}}
        return (
            {"id": str(i)}
            | common
            | ({"label": labels[i] if labels else i % 10} if name == "cifar10" else {})
        )

    with tfds.core.registered.skip_registration():
        builder_class = type(
            "Small",
            (tfds.core.GeneratorBasedBuilder,),
            {
                "name": name,
                "VERSION": tfds.core.Version(_VERSIONS[name]),
                "__module__": __name__,
                "_info": lambda self: tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(features())
                ),
                "_split_generators": lambda self, manager: {"train": self._generate_examples()},
                "_generate_examples": lambda self: (
                    (i, example(i, image)) for i, image in enumerate(images)
                ),
            }
            | (
                {
                    "BUILDER_CONFIGS": [
                        tfds.core.BuilderConfig(name=_CONFIGS[name], version=_VERSIONS[name])
                    ]
                }
                if name in _CONFIGS
                else {}
            ),
        )
        builder = builder_class(
            data_dir=folder, config=_CONFIGS.get(name), file_format="array_record"
        )
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
