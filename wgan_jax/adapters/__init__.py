"""Networks of other libraries as pairs of pure functions.

`from_nnx` and `from_equinox` take what makes a module (its class, or a function) and not a
module, since the weights of a network are a function of a key. The libraries are imported when
they are asked for.
"""

from wgan_jax.adapters.equinox import from_equinox
from wgan_jax.adapters.nnx import from_nnx, to_nnx
from wgan_jax.types import from_linen

__all__ = ["from_equinox", "from_linen", "from_nnx", "to_nnx"]
