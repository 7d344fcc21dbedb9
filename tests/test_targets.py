"""Labels and conditions of TFDS data sets, by feature name."""

import json
from pathlib import Path

import numpy as np
import pytest
from archives import arrays_of
from small_sets import encoded, grey, write

from wgan_jax.__main__ import main
from wgan_jax.cli.common import run_command
from wgan_jax.data.images import TFDS
from wgan_jax.data.stream import TFDSStream
from wgan_jax.errors import UserError

pytestmark = [
    pytest.mark.usefixtures("few_points"),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.once,
]

COUNT, SIDE = 12, 16
NUMBER = np.arange(COUNT)
SMILING, YOUNG = NUMBER % 2 == 0, NUMBER % 3 == 0


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Images whose grey value is 20 times their number, which their features follow."""
    folder = tmp_path_factory.mktemp("faces")
    write(folder, "celeb_a", [grey("celeb_a", 20 * i) for i in range(COUNT)])
    return folder


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    folder = tmp_path_factory.mktemp("things")
    images = [encoded(np.full((32, 32, 3), i, np.uint8)) for i in range(COUNT)]
    write(folder, "cifar10", images, labels=[(0, 3, 7)[i % 3] for i in range(COUNT)])
    return folder


def node(kind, folder, **options):
    return kind(name="celeb_a", image_size=SIDE, channels=3, data_dir=str(folder), **options)


def in_order(data):
    """All examples as (number, label, vector), by number; what there is not is None."""
    batch = (
        next(data.batches(seed=0, batch_size=COUNT, first=0)) if data.is_stream else data.examples
    )
    x, condition = batch if isinstance(batch, tuple) else (batch, None)
    both = condition if isinstance(condition, tuple) else (condition,)
    labels = next((c for c in both if c is not None and c.ndim == 1), None)
    vectors = next((c for c in both if c is not None and c.ndim == 2), None)
    order = np.argsort(x[:, 8, 8, 0])
    np.testing.assert_array_equal(x[order, 8, 8, 0], 20 * NUMBER)
    return [None if c is None else np.asarray(c)[order] for c in (labels, vectors)]


@pytest.mark.parametrize("kind", [TFDS, TFDSStream])
def test_attributes_are_labels_and_multi_hot_conditions(kind, faces):
    config = node(kind, faces, condition=("attributes",))
    data = config.open()
    labels, vectors = in_order(data)
    assert labels is None
    np.testing.assert_array_equal(vectors, np.stack([SMILING, YOUNG], 1).astype(np.float32))
    assert config.condition_dim() == data.struct(5)[1].shape[1] == 2
    assert data.condition_units.columns.names == ("attributes/Smiling", "attributes/Young")
    assert sorted(config.condition_rows().tolist()) == sorted(vectors.tolist())

    labels, vectors = in_order(node(kind, faces, label="attributes/Young").open())
    assert vectors is None
    np.testing.assert_array_equal(labels, YOUNG)

    both = node(kind, faces, label="attributes/Young", condition=("landmarks/nose_x",))
    data = both.open()
    labels, vectors = in_order(data)
    np.testing.assert_array_equal(labels, YOUNG)
    np.testing.assert_allclose(vectors[:, 0], (NUMBER - 5.5) / NUMBER.std(), rtol=1e-6)
    assert (data.class_names, data.label_name) == (("false", "true"), "attributes/Young")
    assert (both.num_classes(), both.condition_dim()) == (2, 1)
    assert both.summary() == (COUNT, ("false", "true"))
    assert (
        data.class_labels().tolist()
        == node(kind, faces, label="attributes/Young").open().class_labels().tolist()
    )


def test_held_out_conditions_are_in_the_units_of_those_trained_on(faces):
    data = node(TFDS, faces, split="train[:6]", condition=("landmarks/nose_x",)).open()
    (column,) = data.condition_units.columns
    seen = []
    for x, vectors in (data.examples, data.held_out().examples):
        numbers = x[:, 8, 8, 0] // 20
        np.testing.assert_allclose(vectors[:, 0] * column.scale + column.center, numbers, atol=1e-5)
        seen += numbers.tolist()
    assert sorted(seen) == NUMBER.tolist()


def test_classes_have_the_names_beside_the_data(things):
    config = TFDS(name="cifar10", channels=3, labels=True, data_dir=str(things))
    assert (config.num_classes(), config.open().class_names) == (10, ())
    (features,) = things.glob("cifar10/*/features.json")
    names = [f"thing {i}" for i in range(10)]
    beside = features.with_name("label.labels.txt")
    for wrong in (names[:9], ["thing"] * 10):
        beside.write_text("\n".join(wrong))
        assert config.open().class_names == ()
    beside.write_text("\n".join(names))
    for one in (config, TFDSStream(name="cifar10", labels=True, data_dir=str(things))):
        assert one.open().class_names == tuple(names)
        assert one.summary() == (COUNT, tuple(names))
        assert sorted(set(one.open().class_labels().tolist())) == [0, 3, 7]
    one_hot = TFDS(name="cifar10", channels=3, condition=("label",), data_dir=str(things))
    assert one_hot.condition_dim() == 10
    assert one_hot.open().examples[1].argmax(1).tolist() == config.open().examples[1].tolist()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"condition": ("attributes/Smilin",)}, "did you mean attributes/Smiling"),
        ({"condition": ("Young",)}, "did you mean attributes/Young"),
        ({"condition": ("image",)}, "--dataset.condition names a feature 'image', but celeb_a"),
        ({"condition": ("zz",)}, "it has attributes/Smiling, attributes/Young, landmarks/nose_x"),
        ({"condition": ("",)}, "names a feature ''"),
        ({"condition": ("../attributes",)}, "names a feature '../attributes'"),
        ({"labels": True}, "--dataset.label names a feature 'label', but celeb_a has none"),
        ({"label": "attributes"}, "'attributes' of celeb_a holds no classes"),
    ],
)
def test_features_that_are_not_there_are_told_with_what_is(options, told, faces):
    for kind in (TFDS, TFDSStream):
        with pytest.raises(UserError, match=told):
            node(kind, faces, **options).open()


def test_metadata_that_promise_the_impossible_are_refused(things, tmp_path):
    import shutil

    shutil.copytree(things, tmp_path / "in")
    (features,) = tmp_path.glob("in/cifar10/*/features.json")
    whole = json.loads(features.read_text())
    label = whole["featuresDict"]["features"]["label"]
    for damage in ({"numClasses": "1" + "0" * 12}, {"numClasses": "many"}, []):
        label["classLabel"] = damage
        features.write_text(json.dumps(whole))
        with pytest.raises(UserError, match="cifar10 is damaged"):
            TFDS(name="cifar10", labels=True, data_dir=str(tmp_path / "in")).open()
    for parents in ("a/../..", "/etc/passwd"):
        whole["featuresDict"]["features"] |= {parents: label | {"classLabel": {"numClasses": "2"}}}
        features.write_text(json.dumps(whole))
        label["classLabel"] = {"numClasses": "10"}
        data = TFDS(name="cifar10", data_dir=str(tmp_path / "in")).open()
        assert data.size == COUNT


def run(command, capsys, *args):
    capsys.readouterr()
    status = run_command(command, [str(arg) for arg in args])
    output = capsys.readouterr()
    return status, output.out + output.err


def test_a_stream_is_trained_with_labels_and_conditions_and_sampled_without_its_data(
    faces, tmp_path, capsys, monkeypatch
):
    from wgan_jax import cli

    monkeypatch.chdir(Path(__file__).parents[1])
    monkeypatch.setattr("wgan_jax.cli.evaluate.summarize_run", lambda *_: None)
    (tmp_path / "here").symlink_to(faces)
    status, said = run(
        cli.train,
        capsys,
        *("--config", "configs/celeba.py", "--dataset.data-dir", tmp_path / "here"),
        *("--dataset.label", "attributes/Young", "--dataset.condition", "attributes/Smiling"),
        *("--dataset.image-size", SIDE, "--warmup", "none", "--batch-size", "4", "--steps", "1"),
        *("--generator.filters", "2", "--critic.filters", "2", "--n-critic", "1", "--chunk", "1"),
        *("--generator.norm", "none", "--critic.norm", "none", "--workdir", tmp_path / "run"),
    )
    assert status == 0, said
    assert "labels: 2 classes, 4 to 8 examples each" in said
    (tmp_path / "here").unlink()
    out = tmp_path / "out.npz"
    where = ("sample", tmp_path / "run", "--num", "9", "--out", out, "--force")
    for value in ("true", "1"):
        chosen = ("--label", "true", "--condition", f"attributes/Smiling={value}")
        status, said = run(main, capsys, *where, *chosen)
        assert status == 0, said
        found = arrays_of(out)
        assert found["samples"].shape == (9, SIDE, SIDE, 3)
        assert set(found["labels"].tolist()) == {1}
    status, said = run(main, capsys, *where, "--condition", "attributes/Smiling=perhaps")
    assert status == 2
    assert said.count("\n") == 1
    assert "perhaps" in said
