"""Wasserstein GANs as pure functions, in JAX and Flax."""

from wgan_jax import distances, metrics, objectives, penalties
from wgan_jax.adapters import from_equinox, from_linen, from_nnx, to_nnx
from wgan_jax.data import toy
from wgan_jax.estimate import W1Estimate, estimate_w1, plot_bounds
from wgan_jax.gan import GAN, gan
from wgan_jax.lipschitz import LipschitzBound, lipschitz_bound
from wgan_jax.loop import scan_steps
from wgan_jax.networks import MLP, DCGANCritic, DCGANGenerator, ResNetCritic, ResNetGenerator
from wgan_jax.objectives import (
    Hinge,
    JensenShannon,
    LeastSquares,
    RelativisticPairing,
    Wasserstein,
)
from wgan_jax.penalties import (
    DRAGAN,
    Consistency,
    DivergencePenalty,
    GradientPenalty,
    LipschitzPenalty,
    ZeroCentered,
)
from wgan_jax.population import Population, population
from wgan_jax.transforms.clipping import all_but_norms, clip_weights, project_weights
from wgan_jax.transforms.finite import skip_non_finite
from wgan_jax.types import GANState, Network, Player, Step
from wgan_jax.vae import EvidenceBound, vae

__version__ = "0.1.0"

__all__ = [
    "DRAGAN",
    "GAN",
    "MLP",
    "Consistency",
    "DCGANCritic",
    "DCGANGenerator",
    "DivergencePenalty",
    "EvidenceBound",
    "GANState",
    "GradientPenalty",
    "Hinge",
    "JensenShannon",
    "LeastSquares",
    "LipschitzBound",
    "LipschitzPenalty",
    "Network",
    "Player",
    "Population",
    "RelativisticPairing",
    "ResNetCritic",
    "ResNetGenerator",
    "Step",
    "W1Estimate",
    "Wasserstein",
    "ZeroCentered",
    "all_but_norms",
    "clip_weights",
    "distances",
    "estimate_w1",
    "from_equinox",
    "from_linen",
    "from_nnx",
    "gan",
    "lipschitz_bound",
    "metrics",
    "objectives",
    "penalties",
    "plot_bounds",
    "population",
    "project_weights",
    "scan_steps",
    "skip_non_finite",
    "to_nnx",
    "toy",
    "vae",
]
