"""Small Hugging Face data sets, of images in classes and of people in columns."""

import numpy as np
import pytest
from PIL import Image

datasets = pytest.importorskip("datasets", reason="datasets comes with the extra 'huggingface'")

SIDE, COUNT = 16, 24
NAMES = ("cat", "dog", "eel")


def pixels(i):
    return np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def build(numbers, **columns):
    """Images of the given numbers, with their classes and other columns."""
    features = {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=list(NAMES))}
    content = {"picture": [Image.fromarray(pixels(i)) for i in numbers]}
    content["kind"] = [i % 2 for i in numbers]
    for name, (feature, values) in columns.items():
        features[name], content[name] = feature, values
    return datasets.Dataset.from_dict(content, features=datasets.Features(features))


PEOPLE = {
    "height": [1.5, 1.75, 1.5, 2.0, 1.25, 1.0],
    "age": [40, 60, 20, 31, 7, 5],
    "smoker": [True, False, False, True, False, False],
    "city": ["Rome", "Paris", "Rome", "Rome", "Paris", "Paris"],
    "pet": [0, 1, 1, 2, 0, 0],
}
KINDS = {"height": "float32", "age": "int16", "smoker": "bool", "city": "string"}


def people(**changes):
    kinds = {name: datasets.Value(kind) for name, kind in KINDS.items()}
    kinds["pet"] = datasets.ClassLabel(names=list(NAMES))
    content = {name: changes.pop(name, column) for name, column in PEOPLE.items()}
    for name, (kind, column) in changes.items():
        kinds[name], content[name] = kind, column
    return datasets.Dataset.from_dict(content, features=datasets.Features(kinds))
