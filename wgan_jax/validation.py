"""Checks of the parts of a game when it is built, and of the critic's dependence on batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.types import Array, Network, PyTree

_PROBE_ROWS = 4


def check_part(part: Any, role: str, *methods: str) -> None:
    """Reject a class in place of an instance, and a part that lacks methods.

    Raises:
      ValueError: the part is invalid; the message gives its role and what to do.

    Example:
      >>> from wgan_jax import Wasserstein
      >>> check_part(Wasserstein, "objective")
      Traceback (most recent call last):
      ValueError: the objective is the class Wasserstein: make an instance, Wasserstein(...)
    """
    if isinstance(part, type):
        name = part.__name__
        raise ValueError(f"the {role} is the class {name}: make an instance, {name}(...)")
    missing = [method for method in methods if not callable(getattr(part, method, None))]
    if missing:
        name = type(part).__name__
        advice = f"; build it, {name}(...).build()" if hasattr(part, "build") else ""
        if all(callable(getattr(getattr(part, "tx", None), method, None)) for method in methods):
            advice = "; pass its optax transformation, `.tx`"  # such as an NNX Optimizer
        raise ValueError(
            f"the {role} needs {', '.join(methods)}, but {name} has no {', '.join(missing)}{advice}"
        )


def check_independent_scores(critic: Network, sample: PyTree) -> None:
    """Reject a critic whose training scores depend on other samples of the batch.

    A penalty bounds the gradient of each score with respect to its own sample,
    which is meaningless once a score depends on the full batch. The critic is
    tested by its outputs, not by layer names: when one sample changes, the scores
    of the others must not. Weights are drawn at random, since those of `init` may
    hide the dependence, as a last layer of zeros does. A critic that is built from
    traced hyperparameters cannot be evaluated yet and is not checked.

    Args:
      critic: the network.
      sample: shapes and dtypes of a batch, as from `jax.eval_shape`.

    Raises:
      ValueError: scores depend on other samples.

    Example:
      >>> import jax
      >>> from wgan_jax import DCGANCritic, from_linen
      >>> images = jax.ShapeDtypeStruct((2, 16, 16, 1), "float32")
      >>> critic = DCGANCritic(image_size=16, channels=1, filters=4)
      >>> check_independent_scores(from_linen(critic.copy(norm="layer")), images)
      >>> check_independent_scores(from_linen(critic), images)  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ValueError: a penalty bounds the gradient of each score by its own sample, ...
    """
    batch = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((_PROBE_ROWS, *x.shape[1:]), x.dtype), sample
    )
    params, stats = jax.eval_shape(critic.init, jax.random.key(0), batch)
    random = np.random.default_rng(0)
    base = _filled(batch, random.standard_normal)
    changed = [
        jax.tree.map(lambda x, s=size: _with_first_row_moved(x, s, random), base)
        for size in (1.0, 10.0, -10.0)
    ]
    weights = _filled(params, lambda shape: random.standard_normal(shape) / _fan_in(shape) ** 0.5)
    state = _filled(stats, lambda shape: 0.5 + np.abs(random.standard_normal(shape)))
    batches = jax.tree.map(lambda *x: np.stack(x), base, *changed)

    @jax.jit
    def score(weights: PyTree, state: PyTree, batches: PyTree, key: Array) -> Array:
        def score_batch(x: PyTree) -> Array:
            same = jax.random.clone(key)  # the same dropout for all batches, on purpose
            return critic.apply(weights, state, x, train=True, key=same)[0].astype(jnp.float32)

        return lax.map(score_batch, batches).reshape(len(changed) + 1, _PROBE_ROWS)

    with jax.ensure_compile_time_eval():
        try:
            scores = np.asarray(score(weights, state, batches, jax.random.key(0)), np.float64)
        except (jax.errors.UnexpectedTracerError, jax.errors.ConcretizationTypeError):
            return
    others, own = scores[:, 1:], scores[:, :1]
    tolerance = 1e-4 * (np.abs(own - own[:1]) + np.abs(others[:1])) + 1e-30
    if np.isfinite(others[0]).all() and not (np.abs(others - others[:1]) <= tolerance).all():
        raise ValueError(
            "a penalty bounds the gradient of each score by its own sample, but scores of this "
            "critic depend on other samples of the batch, as they do with batch norm; use layer "
            "norm instead (norm='layer')"
        )


def sample_spec(generator: Network, latent: Callable[[Array, int], PyTree]) -> PyTree:
    """Return shapes and dtypes of samples of a generator, by tracing alone."""
    n = 2 * jax.device_count()  # which a latent that is sharded over devices can divide

    def sample(key: Array) -> PyTree:
        latent_key, init_key, apply_key = jax.random.split(key, 3)
        z = latent(latent_key, n)
        params, stats = generator.init(init_key, z)
        return generator.apply(params, stats, z, train=True, key=apply_key)[0]

    return jax.eval_shape(sample, jax.random.key(0))


def _filled(spec: PyTree, draw: Callable[[tuple[int, ...]], np.ndarray]) -> PyTree:
    """Return arrays with the shapes and dtypes of `spec`: floats are drawn, integers are 0."""

    def fill(x: jax.ShapeDtypeStruct) -> Any:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.split(jax.random.key(1), x.shape)
        is_float = jnp.issubdtype(x.dtype, jnp.floating)
        return np.asarray(draw(x.shape) if is_float else np.zeros(x.shape)).astype(x.dtype)

    return jax.tree.map(fill, spec)


def _with_first_row_moved(x: np.ndarray, size: float, random: np.random.Generator) -> np.ndarray:
    is_float = jnp.issubdtype(x.dtype, jnp.floating)
    row = size * (1 + random.standard_normal(x.shape[1:])) if is_float else np.ones(x.shape[1:])
    return np.concatenate([np.asarray(row).astype(x.dtype)[None], x[1:]])


def _fan_in(shape: tuple[int, ...]) -> int:
    return max(math.prod(shape[:-1]), 1)
