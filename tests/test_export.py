"""The train step of every config lowers for CPU, CUDA and TPU, on any machine."""

import dataclasses
from pathlib import Path

import jax
import pytest

from wgan_jax.cli.flags import load
from wgan_jax.errors import UserError
from wgan_jax.experiment.build import build_gan

FOLDER = Path(__file__).parents[1] / "configs"


def variants(path):
    """The file, or with each argument that it takes, as it tells them."""
    try:
        load(f"{path}:?")
    except UserError as error:
        methods = str(error).partition("known: ")[2]
    return [f"{path.name}:{name}" for name in methods.split(", ")] if methods else [path.name]


CONFIGS = [name for path in sorted(FOLDER.glob("*.py")) for name in variants(path)]
BATCH, N_CRITIC = 2, 1  # the networks are the config's; the rest does not change what is lowered


def program(config):
    """The train step and the shapes of its arguments."""
    real = config.dataset.struct(BATCH)
    gan = build_gan(config)
    state = jax.eval_shape(gan.init, jax.random.key(0), real)
    reals = jax.tree.map(lambda x: jax.ShapeDtypeStruct((N_CRITIC, *x.shape), x.dtype), real)
    return gan.train_step, state, reals


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CONFIGS)
def test_the_train_step_lowers_for_accelerators(name, tmp_path):
    config = load(FOLDER / name)
    if name == "table.py":  # whose data are the user's
        (tmp_path / "own.csv").write_text("a,b\n1,2\n3,5\n")
        config = dataclasses.replace(
            config, dataset=config.dataset.at_location(str(tmp_path / "own.csv"))
        )
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam does not pass "strict"
        step, state, reals = program(config)
        exported = jax.export.export(step, platforms=("tpu", "cuda"))(state, reals)
    assert exported.platforms == ("tpu", "cuda")
    after, metrics = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert {"critic/loss", "critic/estimate", "generator/loss"} <= metrics.keys()
