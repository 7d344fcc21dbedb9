"""Weight clipping, the Lipschitz constraint of the WGAN paper, as an optax transform."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from wgan_jax.types import Array, PyTree

Mask = PyTree | Callable[[PyTree], PyTree]


def clip_weights(c: float | Array, mask: Mask | None = None) -> optax.GradientTransformation:
    """Keep every weight in [-c, c] after each update.

    Put it last in a chain, so that it sees the update that will be applied:

        u  <-  clip(w + u, -c, c) - w

    Taken literally, this can leave the box by rounding, since `w + (t - w)` need
    not equal `t`. In that case the update is moved by one unit in the last place
    towards zero; then `|optax.apply_updates(w, u)| <= c` holds exactly in float32,
    bfloat16 and float16, with `c` rounded to the dtype of the weight.

    Args:
      c: clipping bound, positive; may be traced.
      mask: true where weights are clipped, as in `optax.masked`: a tree of booleans,
        a prefix of one, or a function from weights to either. By default all weights
        are clipped, including batch-norm scales and shifts as in the reference code;
        `all_but_norms` exempts those.

    Returns:
      A stateless `optax.GradientTransformation` whose `update` needs `params`.

    Raises:
      ValueError: `c` is zero, negative or not a number.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> tx = optax.chain(optax.sgd(1.0), clip_weights(0.01))
      >>> w = jnp.array([0.0, 0.3])
      >>> u, _ = tx.update(jnp.array([5.0, 0.0]), tx.init(w), w)
      >>> bool((jnp.abs(optax.apply_updates(w, u)) <= 0.01).all())
      True

    References:
      Arjovsky, Chintala and Bottou, Wasserstein GAN, 2017, Algorithm 1, line 7.
    """
    _check_positive(c)

    def update(updates: PyTree, state: optax.EmptyState, params: PyTree | None = None):
        if params is None:
            raise ValueError("clip_weights needs the weights: call update(updates, state, params)")

        def into_box(u: Array, w: Array) -> Array:
            return _into_box(u.astype(w.dtype), w, jnp.asarray(c, w.dtype))

        return jax.tree.map(into_box, updates, params), state

    clip = optax.GradientTransformation(lambda params: optax.EmptyState(), update)
    return clip if mask is None else optax.masked(clip, mask)


def project_weights(params: PyTree, c: float | Array, mask: Mask | None = None) -> PyTree:
    """Clip the weights themselves to [-c, c]; `mask` as in `clip_weights`.

    The reference code does this before each critic step, the paper after it.

    Example:
      >>> import jax.numpy as jnp
      >>> project_weights({"w": jnp.array([-1.0, 0.5])}, 0.5)["w"].tolist()
      [-0.5, 0.5]
    """
    _check_positive(c)

    def clip(w: Array) -> Array:
        bound = jnp.asarray(c, w.dtype)
        return jnp.clip(w, -bound, bound)

    tx = optax.stateless(lambda weights, _: jax.tree.map(clip, weights))
    tx = tx if mask is None else optax.masked(tx, mask)
    return tx.update(params, tx.init(params), params)[0]


def all_but_norms(params: PyTree) -> PyTree:
    """Return a mask for `clip_weights` that exempts normalization layers.

    A normalization layer is a node that holds a `scale`, in a dict, a FrozenDict or as
    an attribute; everything in it is exempt, including its shift.

    Example:
      >>> all_but_norms({"dense": {"kernel": 1.0}, "norm": {"scale": 1.0, "bias": 0.0}})
      {'dense': {'kernel': True}, 'norm': {'bias': False, 'scale': False}}
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
    paths = [[jax.tree_util.keystr((key,), simple=True) for key in path] for path, _ in leaves]
    norms = {tuple(path[:i]) for path in paths for i, name in enumerate(path) if name == "scale"}

    def is_free(path: list[str]) -> bool:
        return any(tuple(path[:i]) in norms for i in range(len(path)))

    return jax.tree.unflatten(treedef, [not is_free(path) for path in paths])


def _check_positive(c: float | Array) -> None:
    if not isinstance(c, jax.core.Tracer) and not c > 0:
        raise ValueError(f"the clip bound c must be positive, got {c}")


@jax.custom_jvp
def _into_box(u: Array, w: Array, bound: Array) -> Array:
    step = jnp.clip(_rounded(w + u), -bound, bound) - w
    landing = _rounded(w + step)
    infinity = jnp.asarray(jnp.inf, w.dtype)
    step = jnp.where(landing > bound, jnp.nextafter(step, -infinity), step)
    return jnp.where(landing < -bound, jnp.nextafter(step, infinity), step)


@_into_box.defjvp
def _into_box_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """Differentiate the clip; the correction of one unit has no derivative, like `nextafter`."""

    def uncorrected(u: Array, w: Array, bound: Array) -> Array:
        return jnp.clip(w + u, -bound, bound) - w

    return _into_box(*primals), jax.jvp(uncorrected, primals, tangents)[1]


def _rounded(x: Array) -> Array:
    """Keep the compiler from holding a half-precision value in a wider register."""
    info = jnp.finfo(x.dtype)
    return jax.lax.reduce_precision(x, exponent_bits=info.nexp, mantissa_bits=info.nmant)
