"""What `gan`, its steps and its loops refuse, by name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wgan_jax import MLP, GradientPenalty, Wasserstein, from_linen, gan, population, scan_steps
from wgan_jax.sharding import data_mesh, shard_batches
from wgan_jax.transforms.optimizers import RMSProp


def parts(**other):
    tx = optax.sgd(0.1)
    usual = {
        "generator": from_linen(MLP(features=(4,), output_shape=(2,))),
        "critic": from_linen(MLP(features=(4,))),
        "objective": Wasserstein(),
        "generator_tx": tx,
        "critic_tx": tx,
        "latent": lambda key, n: jax.random.normal(key, (n, 2)),
    }
    return usual | other


def test_bad_shapes_are_named(key):
    with pytest.raises(ValueError, match=r"\(3,\)"):
        gan(**parts()).init(key, jnp.zeros((16, 3)))
    model = gan(**parts())
    state = model.init(key, jnp.zeros((16, 2)))
    with pytest.raises(ValueError, match="n_critic"):
        model.train_step(state, jnp.zeros((0, 16, 2)))
    with pytest.raises(ValueError, match="n_critic"):
        scan_steps(model, n_critic=0, batch_size=1, length=1)
    wide = gan(**parts(critic=from_linen(MLP(output_shape=(7,)))))
    with pytest.raises(ValueError, match=r"\[4, 7\]"):
        wide.critic_step(wide.init(key, jnp.zeros((4, 2))), jnp.zeros((4, 2)))


@pytest.mark.parametrize("size", [0, 2.5, "3", None])
@pytest.mark.parametrize("name", ["n_critic", "batch_size", "length"])
@pytest.mark.parametrize("loop", [scan_steps, population])
def test_sizes_that_are_no_counts_are_named(loop, name, size):
    sizes = {"n_critic": 1, "batch_size": 4, "length": 1, name: size}
    with pytest.raises(ValueError, match=f"{name} must be an integer .* got {size!r}"):
        loop(gan(**parts()), **sizes)


@pytest.mark.parametrize("give", [lambda x: x, np.asarray, lambda x: (x, x), lambda x: None])
def test_data_in_place_of_a_sampler_is_named(give, key):
    state = jax.eval_shape(gan(**parts()).init, key, jnp.zeros((4, 2)))
    data = give(jnp.zeros((8, 2)))
    run = scan_steps(gan(**parts()), n_critic=1, batch_size=4, length=1)
    for use in (lambda: run(state, data), lambda: shard_batches(data, data_mesh())):
        with pytest.raises(ValueError, match=rf"\(key, n\).* got {type(data).__name__}"):
            use()


class ThreeByStep:
    def __call__(self, key, n):
        return jnp.zeros((n, 2))

    def at(self, key, step, n):
        return jnp.zeros((3, 2))


@pytest.mark.parametrize("sampler", [lambda key, n: jnp.zeros((3, 2)), ThreeByStep()])
def test_a_sampler_that_returns_another_number_is_named(sampler, key):
    model = gan(**parts())
    state = model.init(key, jnp.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"asked for 4 samples, but returned 3"):
        scan_steps(model, n_critic=2, batch_size=4, length=1)(state, sampler)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"critic": MLP}, r"critic is a module of flax.linen, MLP; adapt it"),
        ({"objective": Wasserstein}, r"objective is the class Wasserstein"),
        ({"penalty": GradientPenalty}, r"penalty is the class GradientPenalty"),
        ({"critic_tx": RMSProp()}, r"critic's optimizer needs init, update.*build\(\)"),
        ({"generator_tx": 0.1}, r"generator's optimizer needs init, update"),
        ({"latent": 2}, r"latent needs __call__"),
        ({"critic_projection": 0.01}, r"critic's projection needs __call__"),
    ],
    ids=lambda value: None,
)
def test_what_is_no_part_of_a_game_is_named(other, told):
    with pytest.raises(ValueError, match=told):
        gan(**parts(**other))


@pytest.mark.parametrize("steps", [0, 2])
def test_empty_batches_are_named(steps, key):
    model = gan(**parts(unrolled_steps=steps))
    state = jax.eval_shape(model.init, key, jnp.zeros((4, 2)))
    none = jnp.zeros((0, 2))
    for take in (
        lambda: jax.eval_shape(model.init, key, none),
        lambda: jax.eval_shape(model.critic_step, state, none),
        lambda: jax.eval_shape(lambda s: model.generator_step(s, 0, none), state),
        lambda: jax.eval_shape(model.train_step, state, jnp.zeros((3, 0, 2))),
    ):
        with pytest.raises(ValueError, match="a batch needs at least one sample, got 0"):
            take()


def test_a_class_in_place_of_a_module_is_named():
    with pytest.raises(ValueError, match=r"takes an instance, got the class MLP"):
        from_linen(MLP)
