"""The contract of a `GAN`: what its steps do to a state."""

from __future__ import annotations

from collections.abc import Collection

import jax
import jax.numpy as jnp

from wgan_jax.gan import GAN
from wgan_jax.testing import gan_programs
from wgan_jax.testing.arguments import batch_of
from wgan_jax.testing.assertions import (
    assert_arrays_only,
    assert_close,
    assert_different,
    assert_finite,
    assert_same,
    assert_same_structure,
    assert_scalar,
    error_context,
    is_key,
    run_properties,
)
from wgan_jax.testing.draws import with_first_row_flipped
from wgan_jax.testing.gan_case import N_CRITIC, Case
from wgan_jax.testing.weight_bounds import assert_weights_bounded
from wgan_jax.types import Array, GANState, PyTree
from wgan_jax.validation import check_part


def check_gan(
    gan: GAN,
    real: PyTree,
    *,
    clip: float | Array | None = None,
    clip_mask: PyTree = None,
    seed: int = 0,
    rtol: float = 1e-4,
    skip: Collection[str] = (),
) -> None:
    """Raise AssertionError unless `gan` keeps the contract of a `GAN`.

    Properties, by the names that `skip` takes:

    - `init`: a state of finite arrays, a function of key and shapes; counters at zero.
    - `structure`: a step keeps structure, shapes and dtypes of the state.
    - `alternation`: a step moves its own player and leaves the other as it was.
    - `counters`: a step counts itself, and the root key never changes.
    - `metrics`: a flat dict of finite scalars, losses and the estimate among them.
    - `finite`: the state stays finite.
    - `weight_bounds`: with `clip`, the critic's weights lie in the box after each of its steps.
    - `purity`: same input, same output; the input is left alone; no side effects.
    - `keys`: no two draws share a key, within a step and between steps.
    - `generate`: samples like the data, a function of the key, each of its own noise.
    - `scan`: `train_step` is its critic steps and then its generator step.
    - `chunks`: a run in one program is its iterations one by one.
    - `jit`: compiled and eager agree.
    - `vmap`: seeds side by side are the separate runs.
    - `donation`: giving up the old state's memory changes nothing.
    - `export`: written by `jax.export` and read again it computes the same.

    Args:
      gan: to be checked; one that `wgan_jax.gan` built, or your own bundle.
      real: a batch of real samples, `[batch, ...]`; may be a pytree. Small
        networks and a batch of 4 to 8 make the check quick.
      clip: half the side of the box that the critic's weights must stay in, exactly.
      clip_mask: which of them, as in `clip_weights`.
      seed: of the run.
      rtol: room for rounding between programs, relative, in the norm of a leaf.
      skip: properties to leave out.

    Raises:
      AssertionError: the first property that fails, with values.
      ValueError: a property to skip that there is not, no GAN, or a batch of values that are
        not finite.

    Example:
      >>> import jax, optax
      >>> from wgan_jax import MLP, Wasserstein, clip_weights, from_linen, gan, toy
      >>> model = gan(
      ...     from_linen(MLP(features=(4,), output_shape=(2,))),
      ...     from_linen(MLP(features=(4,))),
      ...     Wasserstein(),
      ...     generator_tx=optax.sgd(1e-2),
      ...     critic_tx=optax.chain(optax.sgd(1e-2), clip_weights(0.05)),
      ...     latent=lambda key, n: jax.random.normal(key, (n, 2)),
      ... )
      >>> real = toy.Ring()(jax.random.key(0), 4)
      >>> slow = ("jit", "vmap", "chunks", "donation", "export")
      >>> check_gan(model, real, clip=0.05, skip=slow)
      >>> check_gan(model, real, clip=0.01, skip=slow)
      Traceback (most recent call last):
      AssertionError: check_gan, weight_bounds (...): after a critic step a weight of ...
    """
    __tracebackhide__ = True
    check_part(gan, "GAN", *GAN._fields)
    real = batch_of(real, "check_gan")
    case = Case(gan, real, clip, clip_mask, seed, rtol)
    run_properties("check_gan", _PROPERTIES, case, skip)


def _init(case: Case) -> None:
    """a state of finite arrays, a function of key and shapes."""
    state = case.start()
    assert isinstance(state, GANState), f"init returns a GANState, got {type(state).__name__}"
    assert_arrays_only(state, "the state")
    assert_finite(state[2:], "the state after init")
    assert is_key(state.key), f"the root key is a typed key, got {state.key!r:.80}"
    assert_same(state.key, jax.random.key(case.seed), "the root key is not the one given")
    assert_same(state.step, jax.tree.map(jnp.zeros_like, state.step), "counters start at zero")
    zeros = jax.tree.map(jnp.zeros_like, case.real)
    like = case.gan.init(jax.random.key(case.seed), zeros)
    assert_same(like, state, "init depends on the values of the samples")
    assert_same_structure(like, state, "two states of one GAN")


def _structure(case: Case) -> None:
    """a step keeps structure, shapes and dtypes of the state."""
    for name, (step, arguments) in case.steps().items():
        args = arguments()
        assert_same_structure(step(*args)[0], args[0], f"the state after {name}")


def _alternation(case: Case) -> None:
    """a step moves its own player and leaves the other as it was."""
    steps = case.steps()
    for mine, other in (("critic", "generator"), ("generator", "critic")):
        step, arguments = steps[f"{mine}_step"]
        args = arguments()
        before, after = args[0], step(*args)[0]
        assert_same(getattr(after, other), getattr(before, other), f"{mine}_step moves the {other}")
        assert_different(
            getattr(after, mine).params,
            getattr(before, mine).params,
            f"{mine}_step leaves the weights of the {mine} as they were",
        )


def _counters(case: Case) -> None:
    """a step counts itself, and the root key never changes."""
    counted = {"critic_step": (0, 1), "generator_step": (1, 0), "train_step": (1, N_CRITIC)}
    for name, (step, arguments) in case.steps().items():
        args = arguments()
        before, after = args[0], step(*args)[0]
        found = tuple(int(b) - int(a) for a, b in zip(before.step, after.step, strict=True))
        assert found == counted[name], (
            f"{name} counts {found[0]} generator and {found[1]} critic updates, "
            f"not {counted[name][0]} and {counted[name][1]}"
        )
        assert_same(after.key, before.key, f"{name} changes the root key")


def _metrics(case: Case) -> None:
    """a flat dict of finite scalars, losses and the estimate among them."""
    critic, generator = {"critic/loss", "critic/estimate"}, {"generator/loss"}
    needed = {
        "critic_step": critic,
        "generator_step": generator,
        "train_step": critic | generator,
    }
    for name, (step, arguments) in case.steps().items():
        metrics = step(*arguments())[1]
        assert isinstance(metrics, dict), f"{name} returns metrics {type(metrics).__name__}"
        missing = sorted(needed[name] - metrics.keys())
        assert not missing, f"{name} leaves out the metrics {missing}; it has {sorted(metrics)}"
        for key, value in metrics.items():
            assert_scalar(value, f"{key} of {name}")
            assert_finite(value, f"{key} of {name}")


def _finite(case: Case) -> None:
    """the state stays finite."""
    for name, (step, arguments) in case.steps().items():
        assert_finite(step(*arguments())[0][2:], f"the state after {name}")


def _weight_bounds(case: Case) -> None:
    """with `clip`, the critic's weights lie in the box after each of its steps."""
    if case.clip is None:
        return
    state = case.start()
    for _ in range(2):
        state, _ = case.gan.critic_step(state, case.real)
        assert_weights_bounded(
            state.critic.params, case.clip, case.clip_mask, "after a critic step"
        )
    state, _ = case.gan.train_step(state, case.reals())
    assert_weights_bounded(state.critic.params, case.clip, case.clip_mask, "after train_step")


def _generate(case: Case) -> None:
    """samples like the data, a function of the key, each of its own noise."""
    state, n = case.later(), 5

    def generate(seed: int) -> PyTree:
        return case.gan.generate(state, jax.random.key(seed), n)

    samples = generate(1)
    for x, y in zip(jax.tree.leaves(samples), jax.tree.leaves(case.real), strict=True):
        found = (x.shape, x.dtype)
        assert found == ((n, *y.shape[1:]), y.dtype), f"samples are {found}, data {y.shape[1:]}"
    assert_finite(samples, "samples")
    assert_same(generate(1), samples, "samples of the same key are not the same")
    assert_different(generate(2), samples, "samples of another key are the same")

    def of_key(key: Array) -> PyTree:
        return case.gan.generate(state, key, n)

    with error_context("a sample follows the noise of its neighbor"):
        flipped = jax.jit(with_first_row_flipped(of_key, n))(jax.random.key(1))
        rest, others = (jax.tree.map(lambda x: x[1:], tree) for tree in (flipped, samples))
        assert_close(rest, others, case.rtol, "the noise of the first sample was changed")


def _scan(case: Case) -> None:
    """`train_step` is its critic steps and then its generator step."""
    state = case.later()
    scanned, metrics = case.gan.train_step(state, case.reals())
    looped, last = state, dict[str, Array]()
    for i in range(N_CRITIC):
        real = jax.tree.map(lambda x: x[i], case.reals())  # noqa: B023
        looped, last = case.gan.critic_step(looped, real)
    looped, moved = case.generator_step(looped, real)
    rtol = case.rtol / 10  # the same operations in the same order
    assert_close(scanned, looped, rtol, "the state after train_step is not that of a loop")
    both = {name: (last | moved)[name] for name in metrics if name in (last | moved)}
    kept = {name: metrics[name] for name in both}
    assert_close(kept, both, rtol, "metrics are those of the last critic step")


_PROPERTIES = {
    "init": _init,
    "structure": _structure,
    "alternation": _alternation,
    "counters": _counters,
    "metrics": _metrics,
    "finite": _finite,
    "weight_bounds": _weight_bounds,
    "scan": _scan,
    "generate": _generate,
    "keys": gan_programs.keys,
    "purity": gan_programs.purity,
    "chunks": gan_programs.chunks,
    "jit": gan_programs.jit,
    "vmap": gan_programs.vmap,
    "donation": gan_programs.donation,
    "export": gan_programs.export,
}
