"""Weight clipping keeps its bounds exactly."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.core import FrozenDict, freeze
from hypothesis import given
from hypothesis import strategies as st

from wgan_jax import all_but_norms, clip_weights, project_weights
from wgan_jax.testing import check_optimizer

DTYPES = ["float32", "bfloat16", "float16"]
finite = st.floats(-1e4, 1e4, width=16)


@given(
    w=st.lists(finite, min_size=8, max_size=8),
    u=st.lists(finite, min_size=8, max_size=8),
    c=st.floats(1e-3, 10),
    dtype=st.sampled_from(DTYPES),
)
def test_the_box_holds_after_any_update(w, u, c, dtype):
    assert_in_box(jnp.asarray(w, dtype), jnp.asarray(u, dtype), c)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_box_holds_for_many_random_weights(dtype, key):
    weights, updates = jax.random.split(key)
    w = (0.05 * jax.random.normal(weights, (200_000,))).astype(dtype)
    u = (0.02 * jax.random.normal(updates, (200_000,))).astype(dtype)
    for c in (0.01, 0.05, 1 / 3):
        assert_in_box(w, u, c)


@jax.jit
def step(w, u, c):
    updates, _ = clip_weights(c).update(u, optax.EmptyState(), w)
    return optax.apply_updates(w, updates)


def assert_in_box(w, u, c):
    c = jnp.asarray(c, jnp.float32)
    after = np.asarray(step(w, u, c), np.float64)
    bound = np.asarray(c.astype(w.dtype), np.float64)
    assert (np.abs(after) <= bound).all()
    ideal = np.clip(np.asarray(w, np.float64) + np.asarray(u, np.float64), -bound, bound)
    ulp = np.asarray(jnp.finfo(w.dtype).eps, np.float64)
    size = np.abs(np.asarray(w, np.float64)) + np.abs(np.asarray(u, np.float64)) + bound
    np.testing.assert_array_less(np.abs(after - ideal), 4 * ulp * size + 1e-7)


def test_a_mask_chooses_what_is_clipped():
    params = {"dense": {"kernel": jnp.ones(3)}, "norm": {"scale": jnp.ones(3), "bias": jnp.ones(3)}}
    zeros = jax.tree.map(jnp.zeros_like, params)
    for mask in (all_but_norms, all_but_norms(params)):
        tx = clip_weights(0.1, mask)
        updates, _ = tx.update(zeros, tx.init(params), params)
        after = optax.apply_updates(params, updates)
        assert float(after["dense"]["kernel"].max()) <= np.float32(0.1)
        assert (after["norm"]["scale"] == 1).all()
        assert (after["norm"]["bias"] == 1).all()
        projected = project_weights(params, 0.1, mask)
        assert (projected["dense"]["kernel"] == jnp.float32(0.1)).all()
        assert (projected["norm"]["scale"] == 1).all()


MASKS = {
    "none": (None, {"dense", "norm"}),
    "tree": ({"dense": {"kernel": True}, "norm": {"scale": False, "bias": False}}, {"dense"}),
    "prefix": ({"dense": True, "norm": False}, {"dense"}),
    "one boolean": (True, {"dense", "norm"}),
    "numpy boolean": (np.False_, set()),
    "function to a tree": (all_but_norms, {"dense"}),
    "function to a prefix": (lambda params: {"dense": False, "norm": True}, {"norm"}),
    "function to a boolean": (lambda params: False, set()),
}


@pytest.mark.parametrize("kind", [dict, FrozenDict])
@pytest.mark.parametrize("name", MASKS)
def test_masks_are_those_of_optax_after_the_step_and_before_it(name, kind):
    mask, clipped = MASKS[name]
    params = {"dense": {"kernel": jnp.ones(3)}, "norm": {"scale": jnp.ones(3), "bias": jnp.ones(3)}}
    params = kind(params)
    mask = kind(mask) if isinstance(mask, dict) else mask
    if name == "function to a prefix":
        mask = lambda params: kind(MASKS[name][0](params))  # noqa: E731
    zeros = jax.tree.map(jnp.zeros_like, params)
    tx = clip_weights(0.125, mask)
    updates, _ = tx.update(zeros, tx.init(params), params)
    for after in (optax.apply_updates(params, updates), project_weights(params, 0.125, mask)):
        assert type(after) is kind
        for module, weights in after.items():
            expected = 0.125 if module in clipped else 1.0
            assert all((w == expected).all() for w in jax.tree.leaves(weights)), module
    check_optimizer(tx, params, clip=0.125, clip_mask=mask, skip=("jit", "export", "purity"))


def test_norms_are_found_in_any_tree():
    class Layer(NamedTuple):
        scale: jax.Array
        inner: dict

    plain = {
        "blocks": [{"norm": {"scale": 1.0, "bias": 0.0}}, {"dense": {"kernel": 1.0, "bias": 0.0}}],
        "layer": Layer(jnp.ones(2), {"shift": 0.0}),
        "scale_net": {"kernel": 1.0},
    }
    found = all_but_norms(plain)
    assert found == {
        "blocks": [
            {"norm": {"scale": False, "bias": False}},
            {"dense": {"kernel": True, "bias": True}},
        ],
        "layer": Layer(False, {"shift": False}),
        "scale_net": {"kernel": True},
    }
    assert jax.tree.leaves(all_but_norms(freeze(plain))) == jax.tree.leaves(found)
    assert all_but_norms(jnp.ones(2)) is True


def test_the_derivative_is_that_of_the_clip():
    """Inside the box the update moves the weight; on its wall neither does, but the bound does."""

    def after(w, u, c):
        updates, _ = clip_weights(c).update(u, optax.EmptyState(), w)
        return w + updates

    w, u = jnp.array([0.01, 0.03, -0.02]), jnp.array([0.02, 0.04, -0.07])
    for argnum, expected in ((0, [1, 0, 0]), (1, [1, 0, 0]), (2, [0, 1, -1])):
        for derivative in (jax.jacfwd, jax.jacrev):
            slopes = jax.jit(derivative(after, argnum))(w, u, 0.05)
            if argnum < 2:
                slopes = slopes.diagonal()
            np.testing.assert_allclose(slopes, expected, atol=1e-6)
    assert (jax.hessian(lambda u: after(w, u, 0.05).sum())(u) == 0).all()


@pytest.mark.parametrize("c", [0, -0.01, float("nan")])
def test_a_bound_that_is_no_bound_is_refused(c):
    with pytest.raises(ValueError, match="positive"):
        clip_weights(c)


def test_weights_are_needed():
    with pytest.raises(ValueError, match="params"):
        clip_weights(0.1).update({"w": jnp.ones(1)}, optax.EmptyState())
