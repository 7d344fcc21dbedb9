"""Adapters of other libraries' modules to pairs of pure functions.

`from_nnx` and `from_equinox` take a factory (the class of a module, or a function) and not a
module, since the weights of a network are a function of a key. The libraries are imported only
when they are needed.
"""

from wgan_jax.adapters.equinox import from_equinox
from wgan_jax.adapters.nnx import from_nnx, to_nnx
from wgan_jax.types import from_linen

__all__ = ["from_equinox", "from_linen", "from_nnx", "to_nnx"]
