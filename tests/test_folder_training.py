"""Training on folders of images, from the checks before it to samples of a named class."""

import json
import os
import shutil
import signal
import threading
import time

import numpy as np
import pytest
from image_folders import classes, opened

from wgan_jax.__main__ import main
from wgan_jax.cli.common import run_command
from wgan_jax.cli.train import train as train_command
from wgan_jax.data import Folder, decoded_images
from wgan_jax.errors import UserError

pytestmark = [pytest.mark.usefixtures("own_cache"), pytest.mark.once]


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
