"""The contract of a `GAN`: properties of its steps and its state."""

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
    """Raise AssertionError unless `gan` satisfies the contract of a `GAN`.

    Properties, by the names that `skip` takes:

    - `init`: the state has finite arrays that depend only on key and shapes; counters start at 0.
    - `structure`: a step keeps the structure, shapes and dtypes of the state.
    - `alternation`: a step updates its own player and leaves the other unchanged.
    - `counters`: a step counts itself, and the root key never changes.
    - `metrics`: a flat dict of finite scalars, including the losses and the estimate.
    - `finite`: the state stays finite.
    - `weight_bounds`: with `clip`, the critic's weights stay in bounds after each of its steps.
    - `purity`: equal inputs give equal outputs; no changes to the input; no side effects.
    - `keys`: no two draws share a key, within a step or across steps.
    - `generate`: samples look like the data, depend on the key, and each has its own noise.
    - `scan`: `train_step` equals its critic steps followed by its generator step.
    - `chunks`: several iterations in one program equal the same iterations one by one.
    - `jit`: compiled and eager results agree.
    - `vmap`: seeds under vmap equal separate runs.
    - `donation`: donating the old state changes nothing.
    - `export`: exported by `jax.export`, it computes the same.

    Args:
      gan: the GAN to check, from `wgan_jax.gan` or your own.
      real: a batch of real samples, `[batch, ...]`; may be a pytree. Small
        networks and a batch of 4 to 8 make the check quick.
      clip: the critic's weights must stay in [-clip, clip], exactly.
      clip_mask: the weights to which `clip` applies, as in `clip_weights`.
      seed: seed of the run.
      rtol: relative tolerance for rounding between programs, in the norm of a leaf.
      skip: properties to leave out.

    Raises:
      AssertionError: the first property that fails, with values.
      ValueError: an unknown property in `skip`, an object that is not a GAN, or a batch with
        values that are not finite.

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
      AssertionError: check_gan, weight_bounds (...): after a critic step, a weight of ...
    """
    __tracebackhide__ = True
    check_part(gan, "GAN", *GAN._fields)
    real = batch_of(real, "check_gan")
    case = Case(gan, real, clip, clip_mask, seed, rtol)
    run_properties("check_gan", _PROPERTIES, case, skip)


def _init(case: Case) -> None:
    """the state has finite arrays that depend only on key and shapes."""
    state = case.start()
    assert isinstance(state, GANState), f"init must return a GANState, got {type(state).__name__}"
    assert_arrays_only(state, "the state")
    assert_finite(state[2:], "the state after init")
    assert is_key(state.key), f"the root key must be a typed key, got {state.key!r:.80}"
    assert_same(state.key, jax.random.key(case.seed), "the root key is not the one given")
    assert_same(state.step, jax.tree.map(jnp.zeros_like, state.step), "counters do not start at 0")
    zeros = jax.tree.map(jnp.zeros_like, case.real)
    like = case.gan.init(jax.random.key(case.seed), zeros)
    assert_same(like, state, "init depends on the values of the samples")
    assert_same_structure(like, state, "the structure of the state depends on the samples")


def _structure(case: Case) -> None:
    """a step keeps the structure, shapes and dtypes of the state."""
    for name, (step, arguments) in case.steps().items():
        args = arguments()
        changed = f"{name} changes the structure or dtypes of the state"
        assert_same_structure(step(*args)[0], args[0], changed)


def _alternation(case: Case) -> None:
    """a step updates its own player and leaves the other unchanged."""
    steps = case.steps()
    for mine, other in (("critic", "generator"), ("generator", "critic")):
        step, arguments = steps[f"{mine}_step"]
        args = arguments()
        before, after = args[0], step(*args)[0]
        changed = f"{mine}_step changes the {other}"
        assert_same(getattr(after, other), getattr(before, other), changed)
        assert_different(
            getattr(after, mine).params,
            getattr(before, mine).params,
            f"{mine}_step leaves the weights of the {mine} unchanged",
        )


def _counters(case: Case) -> None:
    """a step counts itself, and the root key never changes."""
    expected = {"critic_step": (0, 1), "generator_step": (1, 0), "train_step": (1, N_CRITIC)}
    for name, (step, arguments) in case.steps().items():
        args = arguments()
        before, after = args[0], step(*args)[0]
        counts = tuple(int(b) - int(a) for a, b in zip(before.step, after.step, strict=True))
        assert counts == expected[name], (
            f"{name} counts {counts[0]} generator and {counts[1]} critic updates, "
            f"expected {expected[name][0]} and {expected[name][1]}"
        )
        assert_same(after.key, before.key, f"{name} changes the root key")


def _metrics(case: Case) -> None:
    """a flat dict of finite scalars, including the losses and the estimate."""
    critic, generator = {"critic/loss", "critic/estimate"}, {"generator/loss"}
    needed = {
        "critic_step": critic,
        "generator_step": generator,
        "train_step": critic | generator,
    }
    for name, (step, arguments) in case.steps().items():
        metrics = step(*arguments())[1]
        kind = type(metrics).__name__
        assert isinstance(metrics, dict), f"{name} must return a dict of metrics, got {kind}"
        missing = sorted(needed[name] - metrics.keys())
        assert not missing, f"{name} lacks the metrics {missing}; it has {sorted(metrics)}"
        for key, value in metrics.items():
            assert_scalar(value, f"{key} of {name}")
            assert_finite(value, f"{key} of {name}")


def _finite(case: Case) -> None:
    """the state stays finite."""
    for name, (step, arguments) in case.steps().items():
        assert_finite(step(*arguments())[0][2:], f"the state after {name}")


def _weight_bounds(case: Case) -> None:
    """with `clip`, the critic's weights stay in bounds after each of its steps."""
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
    """samples look like the data, depend on the key, and each has its own noise."""
    state, n = case.later(), 5

    def generate(seed: int) -> PyTree:
        return case.gan.generate(state, jax.random.key(seed), n)

    samples = generate(1)
    for x, y in zip(jax.tree.leaves(samples), jax.tree.leaves(case.real), strict=True):
        is_like_data = (x.shape, x.dtype) == ((n, *y.shape[1:]), y.dtype)
        assert is_like_data, f"samples are {x.dtype}{x.shape}, the data {y.dtype}{y.shape}"
    assert_finite(samples, "samples")
    assert_same(generate(1), samples, "the same key gives different samples")
    assert_different(generate(2), samples, "different keys give the same samples")

    def of_key(key: Array) -> PyTree:
        return case.gan.generate(state, key, n)

    with error_context("a sample depends on the noise of its neighbor (batch norm in training?)"):
        flipped = jax.jit(with_first_row_flipped(of_key, n))(jax.random.key(1))
        rest, others = (jax.tree.map(lambda x: x[1:], tree) for tree in (flipped, samples))
        assert_close(rest, others, case.rtol, "the noise of the first sample changes others")


def _scan(case: Case) -> None:
    """`train_step` equals its critic steps followed by its generator step."""
    state = case.later()
    scanned, metrics = case.gan.train_step(state, case.reals())
    looped, last = state, dict[str, Array]()
    for i in range(N_CRITIC):
        real = jax.tree.map(lambda x: x[i], case.reals())  # noqa: B023
        looped, last = case.gan.critic_step(looped, real)
    looped, moved = case.generator_step(looped, real)
    rtol = case.rtol / 10  # the same operations in the same order
    assert_close(scanned, looped, rtol, "the state after train_step differs from a loop")
    expected = {name: (last | moved)[name] for name in metrics if name in (last | moved)}
    actual = {name: metrics[name] for name in expected}
    assert_close(actual, expected, rtol, "metrics are not those of the last critic step")


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
