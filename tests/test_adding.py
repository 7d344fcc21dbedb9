"""The diffs of docs/architecture.md, applied to a copy of the package, work."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DIFFS = dict(
    re.findall(
        r"^### ([^\n]+)\n(?:(?!^###).)*?^```diff\n(.*?)^```",
        (ROOT / "docs/architecture.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
)
CONFIG = """
import dataclasses
from wgan_jax.data.annulus import Annulus
from wgan_jax.experiment.config import Config
from wgan_jax.latents import Normal
from wgan_jax.networks import MLP
from wgan_jax.networks.affine import Affine
from wgan_jax.optimizers import SGD
from wgan_jax.penalties.drift import Drift

def get_config():
    return Config(
        dataset=Annulus(), generator=Affine(), critic=MLP(features=(4,)), penalty=Drift(),
        latent=Normal(dim=2), generator_optimizer=SGD(decay="exponential"), batch_size=4,
        n_critic=1, steps=1, evaluate_every=1,
    )
"""
SCRIPT = """
import contextlib, pathlib, jax
from wgan_jax import cli
from wgan_jax.cli.flags import load
from wgan_jax.experiment.build import build_gan
from wgan_jax.experiment.loggers.run_loggers import log_evaluation
from wgan_jax.experiment.report.reporter import write_report
from wgan_jax.experiment.report.several import write_page
from wgan_jax.experiment.evaluation.watch import cheap_sample_metrics
from wgan_jax.experiment.workdir import write_config, write_json, write_lines
from wgan_jax.reproduce import reproduce
from wgan_jax.reproduce.figure import Settings

with contextlib.suppress(SystemExit):
    cli.run_command(cli.train, ["--config", "config.py", "--help"])
config, gan = load("config.py"), build_gan(load("config.py"))
real = config.dataset(jax.random.key(0), 4)
state = jax.eval_shape(gan.init, jax.random.key(0), real)
jax.eval_shape(gan.train_step, state, real[None])
folder = pathlib.Path("run")
folder.mkdir()
write_config(folder / "config.json", config)
found = cheap_sample_metrics(config.dataset, 2 * real, real, jax.random.key(0))
write_json(folder / "evaluation.json", {"step": 1, **found})
write_report(folder)
write_lines(folder / "metrics.jsonl", [{"step": step, **found} for step in (1, 2)])
write_page(pathlib.Path("compared.html"), [folder])
log_evaluation(["lines"], folder, {"step": 1, **found})
assert reproduce("line", pathlib.Path("figures"), Settings()).claims[0].holds
"""


def test_the_diffs_are_small():
    assert len(DIFFS) == 7
    for name, diff in DIFFS.items():
        assert sum(line[0] in "+-" for line in diff.splitlines()) <= 30, name


@pytest.mark.skipif(shutil.which("git") is None, reason="git applies the diffs")
def test_a_part_that_is_added_is_in_help_in_a_config_and_in_the_report(tmp_path):
    shutil.copytree(ROOT / "wgan_jax", tmp_path / "wgan_jax")
    for name, diff in DIFFS.items():
        apply = ["git", "apply", "--whitespace=nowarn", "-"]
        done = subprocess.run(apply, input=diff, cwd=tmp_path, text=True, capture_output=True)
        assert done.returncode == 0, f"{name}: {done.stderr}"
    (tmp_path / "config.py").write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, text=True, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    for words in ("drift", "Weight of the squared scores", "Radius of the hole", "affine"):
        assert words in done.stdout, words
    report = (tmp_path / "run/report.html").read_text()
    assert "WGAN with a drift penalty, weights clipped to ±0.01 on" in report
    assert "standard deviation of samples over that of the data" in report
    compared = (tmp_path / "compared.html").read_text()
    assert re.findall("<figcaption>(.*?)</figcaption>", compared) == ["Sliced W1", "Spread"]
    assert '"type": "Drift"' in (tmp_path / "run/config.json").read_text()
    assert re.search(r"^1 spread \d", (tmp_path / "run/numbers.txt").read_text(), re.MULTILINE)
