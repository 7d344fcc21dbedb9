"""Does a critic keep statistics of the batch, so that its scores depend on one another?"""

from __future__ import annotations

from collections.abc import Callable

import jax

from wgan_jax.types import Array, Network, PyTree


def check_uncoupled(critic: Network, sample: PyTree) -> None:
    """Refuse a critic that normalises over the batch: a penalty cannot be put on it.

    A penalty bounds the gradient of each score by its own sample, which says
    nothing once a score depends on the whole batch. Batch norm is known by
    what it does and not by its name: in training it renews its statistics from
    the samples. Those of spectral normalisation come from the weights, and
    pass. Nothing is computed, the network is only traced.

    Args:
      critic: the network.
      sample: shapes and dtypes of a batch, as of `jax.eval_shape`.

    Raises:
      ValueError: the statistics depend on the samples.

    Example:
      >>> import jax
      >>> from wgan_jax import DCGANCritic, from_linen
      >>> images = jax.ShapeDtypeStruct((2, 16, 16, 1), "float32")
      >>> critic = DCGANCritic(image_size=16, channels=1, filters=4)
      >>> check_uncoupled(from_linen(critic.copy(norm="layer")), images)
      >>> check_uncoupled(from_linen(critic), images)  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ValueError: a penalty bounds the gradient of each score by its own sample, ...
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    player = jax.eval_shape(critic.init, key, sample)
    if not jax.tree.leaves(player[1]):
        return

    def statistics(out_axes: int | None) -> None:
        """Under vmap, what does not depend on the samples is what is not batched."""

        def renew(player: tuple[PyTree, PyTree], samples: PyTree, key: Array) -> PyTree:
            def of(x: PyTree) -> PyTree:
                return critic.apply(*player, x, train=True, key=key)[1]

            return jax.vmap(of, out_axes=out_axes)(samples)

        one_batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), sample)
        jax.eval_shape(renew, player, one_batch, key)

    statistics(out_axes=0)
    try:
        statistics(out_axes=None)
    except ValueError as error:
        raise ValueError(
            "a penalty bounds the gradient of each score by its own sample, but this critic "
            "normalises with statistics of the batch, so each score depends on all samples; "
            "use layer norm in place of batch norm (norm='layer')"
        ) from error


def samples_of(generator: Network, latent: Callable[[Array, int], PyTree], n: int = 2) -> PyTree:
    """Shapes and dtypes of `n` samples of a generator, by tracing alone."""

    def sample(key: Array) -> PyTree:
        on_latent, on_init, on_apply = jax.random.split(key, 3)
        z = latent(on_latent, n)
        params, stats = generator.init(on_init, z)
        return generator.apply(params, stats, z, train=True, key=on_apply)[0]

    return jax.eval_shape(sample, jax.random.key(0))
