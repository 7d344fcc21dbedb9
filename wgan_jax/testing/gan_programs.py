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
from wgan_jax.testing.gan_case import N_CRITIC, Case
from wgan_jax.types import Array, GANState, PyTree


def purity(case: Case) -> None:
    """same input, same output; the input is left alone; no side effects."""
    for name, (step, arguments) in case.steps().items():
        programs.assert_pure(step, arguments, name)


def keys(case: Case) -> None:
    """no two draws share a key, within a step and between steps."""

    def run(state: GANState, reals: PyTree) -> GANState:
        def turn(state: GANState, _: None) -> tuple[GANState, None]:
            return case.gan.train_step(state, reals)[0], None

        return lax.scan(turn, state, length=3)[0]

    programs.assert_keys_are_fresh(
        run, lambda: (case.start(), case.reals()), "a run of three iterations"
    )


def jit(case: Case) -> None:
    """compiled and eager agree."""
    for name, (step, arguments) in case.steps().items():
        if name != "train_step":  # which is made of the other two
            programs.assert_jit_is_eager(step, arguments, case.rtol, name)


def chunks(case: Case) -> None:
    """a run in one program is the iterations one by one."""
    length = 2
    sampler = jax.tree_util.Partial(_rows, case.real)
    run = scan_steps(case.gan, n_critic=N_CRITIC, batch_size=case.batch, length=length)
    whole, metrics = run(case.start(), sampler)
    state = case.start()
    for i in range(length):
        steps = state.step.critic + jnp.arange(N_CRITIC, dtype=jnp.int32)
        batches = [sample_batch(sampler, state.key, step, case.batch) for step in steps]
        state, alone = case.gan.train_step(state, jax.tree.map(lambda *x: jnp.stack(x), *batches))
        turn = jax.tree.map(lambda m: m[i], metrics)  # noqa: B023
        assert_close(turn, alone, case.rtol, f"metrics of iteration {i} inside a chunk")
    assert_close(whole, state, case.rtol, "the state after a chunk")


def _rows(real: PyTree, key: Array, n: int) -> PyTree:
    size = jax.tree.leaves(real)[0].shape[0]
    index = jax.random.randint(key, (n,), 0, size)
    return jax.tree.map(lambda x: x[index], real)


def vmap(case: Case) -> None:
    """seeds side by side are the separate runs."""
    seeds = jax.random.split(jax.random.key(case.seed), 2)
    states = jax.jit(jax.vmap(case.gan.init, (0, None)))(seeds, case.real)
    moved = jax.jit(jax.vmap(case.gan.train_step, (0, None)))(states, case.reals())
    for i in range(2):
        member, after = jax.tree.map(lambda x: x[i], (states, moved))  # noqa: B023
        alone = case.gan.init(seeds[i], case.real)
        assert_close(member, alone, case.rtol, f"the start of run {i} under vmap")
        expected = case.gan.train_step(alone, case.reals())
        assert_close(after, expected, case.rtol, f"run {i} under vmap is not its solo run")


def donation(case: Case) -> None:
    """giving up the old state's memory changes nothing."""
    expected = jax.tree.map(np.array, key_data(case.gan.train_step(case.later(), case.reals())))
    donating = jax.jit(case.gan.train_step, donate_argnums=0)
    ready = case.gan.train_step(case.start(), case.reals())[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = donating(ready, case.reals())
        donating(case.start(), case.reals())  # a state as init made it
    assert_close(found, expected, case.rtol, "train_step with its state donated")


def export(case: Case) -> None:
    """written by `jax.export` and read again it computes the same."""
    step, arguments = case.steps()["train_step"]
    programs.assert_exports(step, arguments, case.rtol, "train_step")

    def generate(state: GANState, key: Array) -> PyTree:
        return case.gan.generate(state, key, 3)

    programs.assert_exports(
        generate, lambda: (case.later(), jax.random.key(1)), case.rtol, "generate"
    )
