"""Streams: each example once per epoch, across hosts and after a resume."""

import itertools
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from small_sets import NAMES, grey, write

from wgan_jax import cli
from wgan_jax.data.stream import TFDSStream
from wgan_jax.errors import UserError

pytestmark = [pytest.mark.usefixtures("few_points"), pytest.mark.once]

COUNT, BATCH = 12, 4


def opened(folder, name, size=16):
    return TFDSStream(name=NAMES[name], image_size=size, data_dir=str(folder)).open()


def values(batches, count):
    """The grey value of each example of the next batches, [count, batch]."""
    return np.array([batch[:, 8, 8, 0] for batch in itertools.islice(batches, count)])


@pytest.fixture(scope="module")
def lsun(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lsun")
    write(folder, "lsun", [grey("lsun", i) for i in range(COUNT)])
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["celeb_a", "cifar10"])
def test_the_features_of_other_sets_are_read(name, tmp_path):
    write(tmp_path, name, [grey(name, 20 * i) for i in range(COUNT)])
    stream = opened(tmp_path, name)
    assert stream.struct(1).shape == (1, 16, 16, 3)
    batches = stream.batches(seed=0, batch_size=COUNT, first=0)
    assert sorted(values(batches, 1)[0]) == [20 * i for i in range(COUNT)]


@pytest.mark.filterwarnings("ignore")
def test_the_order_goes_on_exactly_across_epochs(lsun):
    """Batches of 5 of 12 examples straddle both boundaries of three epochs."""
    stream = opened(lsun, "lsun")
    whole = values(stream.batches(seed=3, batch_size=5, first=0), 8)
    epochs = whole.reshape(-1)[: 3 * COUNT].reshape(3, COUNT)
    assert (np.sort(epochs) == np.arange(COUNT)).all()
    assert not (epochs[0] == epochs[1]).all()
    for first in range(8):
        later = values(stream.batches(seed=3, batch_size=5, first=first), 8 - first)
        np.testing.assert_array_equal(later, whole[first:])
    other = values(stream.batches(seed=4, batch_size=5, first=0), 8)
    assert not (other == whole).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("parts", [2, 4])
def test_hosts_share_each_batch_and_an_epoch_is_every_example_once(parts, lsun):
    stream = opened(lsun, "lsun")
    whole = values(stream.batches(seed=3, batch_size=BATCH, first=1), 6)
    shares = [
        values(stream.batches(seed=3, batch_size=BATCH, first=1, part=i, parts=parts), 6)
        for i in range(parts)
    ]
    np.testing.assert_array_equal(np.concatenate(shares, axis=1), whole)
    from_start = [
        values(stream.batches(seed=3, batch_size=BATCH, first=0, part=i, parts=parts), 3)
        for i in range(parts)
    ]
    assert sorted(np.concatenate([x.ravel() for x in from_start])) == list(range(COUNT))


@pytest.mark.filterwarnings("ignore")
def test_impossible_shares_are_refused(lsun):
    stream = opened(lsun, "lsun")
    with pytest.raises(UserError, match="13 is larger than the 12"):
        stream.batches(seed=0, batch_size=13, first=0)
    with pytest.raises(UserError, match="3 hosts cannot share a batch of 4"):
        stream.batches(seed=0, batch_size=4, first=0, part=0, parts=3)


SMALL = [
    *("--config", "configs/lsun_bedroom.py", "--warmup", "none", "--batch-size", "4"),
    *("--generator.filters", "2", "--critic.filters", "2", "--n-critic", "2", "--chunk", "2"),
    *("--generator.image-size", "16", "--critic.image-size", "16", "--dataset.image-size", "16"),
    *("--log-every", "2", "--sample-every", "1000", "--checkpoint-every", "1000"),
]


def train(folder, workdir, *args):
    where = ["--dataset.data-dir", str(folder), "--workdir", str(workdir)]
    return cli.run_command(cli.train, [*SMALL, *where, *args])


def state(workdir):
    from wgan_jax.cli.flags import load
    from wgan_jax.experiment.run import open_run

    run = open_run(load(workdir / "config.json"), workdir)
    params = (run.state.critic.params, run.state.generator.params)
    return [np.asarray(x) for x in jax.tree.leaves(params)]


@pytest.mark.filterwarnings("ignore")
def test_a_run_on_a_stream_goes_on_exactly_across_epochs(lsun, tmp_path, monkeypatch):
    """12 examples: an epoch is 3 critic steps, so 4 iterations cross two boundaries."""
    monkeypatch.chdir(Path(__file__).parents[1])
    assert train(lsun, tmp_path / "whole", "--steps", "8") == 0
    assert train(lsun, tmp_path / "cut", "--steps", "4") == 0
    assert train(lsun, tmp_path / "cut", "--steps", "8") == 0
    for a, b in zip(state(tmp_path / "whole"), state(tmp_path / "cut"), strict=True):
        np.testing.assert_array_equal(a, b)
    lines = (tmp_path / "whole/metrics.jsonl").read_text().splitlines()
    evaluation = json.loads((tmp_path / "whole/evaluation.json").read_text())
    assert evaluation["w1/minibatch"] > 0
    assert evaluation["health/gain_error"] > 0
    assert "w1/training" in evaluation  # there is no other split
    assert "w1/lower" not in evaluation
    waits = [json.loads(line)["time/data_wait"] for line in lines]
    assert len(waits) == 4
    assert all(0 <= wait <= 1 for wait in waits)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (grey("lsun", 0)[:40], "cannot be decoded"),
        (b"no image at all", "cannot be decoded"),
    ],
    ids=["cut short", "no image"],
)
def test_bad_records_are_told_in_one_line(bad, told, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    write(tmp_path / "data", "lsun", [bad] * COUNT)
    capsys.readouterr()
    assert train(tmp_path / "data", tmp_path / "run", "--steps", "2") == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1


@pytest.mark.filterwarnings("ignore")
def test_a_single_example_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    write(tmp_path / "data", "lsun", [grey("lsun", 0)])
    capsys.readouterr()
    assert train(tmp_path / "data", tmp_path / "run", "--batch-size", "1", "--devices", "1") == 2
    said = capsys.readouterr().err
    assert "the data set has 1 example" in said
    assert said.count("\n") == 1
