"""The contract of a `GAN` as a program: keys, jit, scan, vmap, donation and export."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.loop import sample_batch, scan_steps
from wgan_jax.testing import programs
from wgan_jax.testing.assertions import assert_close, key_data
from wgan_jax.testing.gan_case import N_CRITIC, Case, results_nearby
from wgan_jax.types import Array, GANState, PyTree


def purity(case: Case) -> None:
    """equal inputs give equal outputs; no changes to the input; no side effects."""
    for name, (step, arguments) in case.steps().items():
        programs.assert_pure(step, arguments, name)


def keys(case: Case) -> None:
    """no two draws share a key, within a step or across steps."""

    def run(state: GANState, reals: PyTree) -> GANState:
        def iteration(state: GANState, _: None) -> tuple[GANState, None]:
            return case.gan.train_step(state, reals)[0], None

        return lax.scan(iteration, state, length=3)[0]

    programs.assert_keys_are_fresh(
        run, lambda: (case.start(), case.reals()), "a run of three iterations"
    )


def jit(case: Case) -> None:
    """compiled and eager results agree."""
    for name, (step, arguments) in case.steps().items():
        if name != "train_step":  # which is made of the other two
            nearby = results_nearby(step, arguments)
            programs.assert_jit_is_eager(step, arguments, case.rtol, name, nearby)


def chunks(case: Case) -> None:
    """several iterations in one program equal the same iterations one by one."""
    length = 2
    sampler = jax.tree_util.Partial(_rows, case.real)
    run = scan_steps(case.gan, n_critic=N_CRITIC, batch_size=case.batch, length=length)
    end, metrics = run(case.start(), sampler)
    nearby = results_nearby(run, lambda: (case.start(), sampler))
    state = case.start()
    for i in range(length):
        steps = state.step.critic + jnp.arange(N_CRITIC, dtype=jnp.int32)
        batches = [sample_batch(sampler, state.key, step, case.batch) for step in steps]
        state, alone = case.gan.train_step(state, jax.tree.map(lambda *x: jnp.stack(x), *batches))
        in_chunk = jax.tree.map(lambda m: m[i], metrics)  # noqa: B023
        assert_close(in_chunk, alone, case.rtol, f"metrics of iteration {i} differ in a chunk")
    what = "the state after a chunk differs from a loop"
    assert_close(end, state, case.rtol, what, lambda: (moved for moved, _ in nearby()))


def _rows(real: PyTree, key: Array, n: int) -> PyTree:
    size = jax.tree.leaves(real)[0].shape[0]
    index = jax.random.randint(key, (n,), 0, size)
    return jax.tree.map(lambda x: x[index], real)


def vmap(case: Case) -> None:
    """seeds under vmap equal separate runs."""
    seeds = jax.random.split(jax.random.key(case.seed), 2)
    states = jax.jit(jax.vmap(case.gan.init, (0, None)))(seeds, case.real)
    moved = jax.jit(jax.vmap(case.gan.train_step, (0, None)))(states, case.reals())
    for i in range(2):
        member, after = jax.tree.map(lambda x: x[i], (states, moved))  # noqa: B023
        alone = case.gan.init(seeds[i], case.real)
        assert_close(member, alone, case.rtol, f"run {i} under vmap starts differently")
        expected = case.gan.train_step(alone, case.reals())
        what = f"run {i} under vmap differs from its solo run"
        nearby = results_nearby(case.gan.train_step, lambda: (alone, case.reals()))  # noqa: B023
        assert_close(after, expected, case.rtol, what, nearby)


def donation(case: Case) -> None:
    """donating the old state changes nothing."""
    expected = jax.tree.map(np.array, key_data(case.gan.train_step(case.later(), case.reals())))
    donating = jax.jit(case.gan.train_step, donate_argnums=0)
    ready = case.gan.train_step(case.start(), case.reals())[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        actual = donating(ready, case.reals())
        donating(case.start(), case.reals())  # a state directly from init
    nearby = results_nearby(case.gan.train_step, lambda: (case.later(), case.reals()))
    what = "train_step differs when its state is donated"
    assert_close(actual, expected, case.rtol, what, nearby)


def export(case: Case) -> None:
    """exported by `jax.export`, it computes the same."""
    step, arguments = case.steps()["train_step"]
    nearby = results_nearby(step, arguments)
    programs.assert_exports(step, arguments, case.rtol, "train_step", nearby)

    def generate(state: GANState, key: Array) -> PyTree:
        return case.gan.generate(state, key, 3)

    programs.assert_exports(
        generate, lambda: (case.later(), jax.random.key(1)), case.rtol, "generate"
    )
