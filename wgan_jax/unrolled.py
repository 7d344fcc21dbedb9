"""Unrolled GAN: the generator answers the critic of a few steps ahead."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import lax

from wgan_jax.objectives import Objective
from wgan_jax.types import Array, Player, PyTree, Scalar


def look_ahead(update: Callable[[Player, Array], Player], critic: Player, keys: Array) -> Player:
    """The critic after one update for each key, differentiable in all that `update` closes over.

    The generator's gradient through it has two parts: the usual one, and how
    the critic would react. The critic itself stays where it is.

    Args:
      update: `(critic, key) -> critic`, one step of critic training.
      critic: where to start.
      keys: [k], of the latents and dropouts of each step.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def after(theta):  # a critic that halves its distance to theta
      ...     def update(player, key):
      ...         return player._replace(params=(player.params + theta) / 2)
      ...     start = Player(jnp.zeros(()), {}, ())
      ...     return look_ahead(update, start, jax.random.split(jax.random.key(0), 3)).params
      >>> after(8.0).item(), jax.grad(after)(8.0).item()
      (7.0, 0.875)

    References:
      Metz et al., Unrolled Generative Adversarial Networks, 2016, equations 6 to 9.
    """
    return lax.scan(lambda player, key: (update(player, key), None), critic, keys)[0]


def looking_ahead_loss(objective: Objective, real: Array, fake: Array) -> Scalar:
    """What the generator descends, from scores of the critic of a few steps ahead.

    The scores of real samples depend on the generator too, through the critic's
    reaction, so their part of the game's value joins the generator's own loss. With
    a minimax loss the sum is the value of the game, up to a constant.

    Args:
      objective: whose critic's loss is a part of real scores plus a part of fake ones.
      real: scores [n].
      fake: scores [n].

    Example:
      >>> import jax.numpy as jnp
      >>> from wgan_jax.objectives import Wasserstein
      >>> looking_ahead_loss(Wasserstein(), jnp.ones(2), jnp.full(2, 3.0)).item()
      -2.0

    References:
      Metz et al., Unrolled Generative Adversarial Networks, 2016, equation 8.
    """
    return objective.generator_loss(fake) - objective.critic_loss(real, jnp.zeros_like(fake))


def check_differentiable(tx: optax.GradientTransformation, params: PyTree) -> None:
    """Refuse an optimiser whose update has no derivative at a zero gradient.

    A weight behind a dead ReLU has gradient zero. Where the update then takes
    the square root of zero, as Adam does by default, its derivative is not a
    number. An optimiser that holds traced hyper-parameters is not looked at.

    Args:
      tx: the critic's optimiser.
      params: shapes and dtypes of its weights.

    Raises:
      ValueError: the derivative is not finite.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> check_differentiable(optax.rmsprop(1e-4, eps_in_sqrt=True), jnp.ones(2))
      >>> check_differentiable(optax.rmsprop(1e-4, eps_in_sqrt=False), jnp.ones(2))
      Traceback (most recent call last):
      ValueError: unrolling differentiates through the critic's optimiser, ...
    """

    def is_finite() -> Array:
        zeros = jax.tree.map(lambda w: jnp.zeros(w.shape, w.dtype), params)

        def update(gradient: PyTree) -> PyTree:
            return tx.update(gradient, tx.init(zeros), zeros)[0]

        updates, pull = jax.vjp(update, zeros)
        slopes = pull(jax.tree.map(jnp.ones_like, updates))
        leaves = [jnp.isfinite(s).all() for s in jax.tree.leaves((updates, slopes))]
        return jnp.stack(leaves).all()

    with jax.ensure_compile_time_eval():
        try:
            finite = bool(jax.jit(is_finite)())
        except (jax.errors.UnexpectedTracerError, jax.errors.TracerBoolConversionError):
            return
    if not finite:
        raise ValueError(
            "unrolling differentiates through the critic's optimiser, and this one has no finite "
            "derivative at a zero gradient; give it eps_root > 0 (Adam), or an epsilon under the "
            "root (RMSProp)"
        )
