"""Builds the components of a run from its config."""

from __future__ import annotations

import dataclasses
import functools
import logging
from functools import partial
from typing import Any

import jax
import numpy as np
import optax

from wgan_jax.data.dataset import Dataset
from wgan_jax.data.labels import count_classes
from wgan_jax.errors import UserError
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.distributed.placement import ShardingStrategy
from wgan_jax.experiment.schema import Schema
from wgan_jax.gan import GAN, gan
from wgan_jax.latents import Conditioned, Labelled, Normal
from wgan_jax.networks import (
    MLP,
    Cones,
    DCGANCritic,
    DCGANGenerator,
    GroupSort,
    ResNetCritic,
    ResNetGenerator,
)
from wgan_jax.networks.sizes import halvings
from wgan_jax.objectives import Wasserstein
from wgan_jax.transforms.clipping import all_but_norms, clip_weights, project_weights
from wgan_jax.transforms.ema import track_ema
from wgan_jax.transforms.finite import skip_non_finite
from wgan_jax.transforms.optimizers import follow_iterations
from wgan_jax.types import PyTree, from_linen
from wgan_jax.vae import EvidenceBound, vae

logger = logging.getLogger(__name__)

_NO_SCHEMA = Schema()
_PLANE = (2,)  # the output of the default generator
_IMAGE_NETWORKS = (DCGANGenerator, DCGANCritic, ResNetGenerator, ResNetCritic)
_DEFAULT_SIZES = ((32, 3), (64, 3))  # default image sizes and channels of the networks


def build_gan(config: Config, placement: ShardingStrategy | None = None) -> GAN:
    """Builds the GAN of a config, or a VAE that implements the `GAN` interface.

    Args:
      config: the experiment.
      placement: sharding of the latents; None for the default device.

    Raises:
      UserError: parts of the config are incompatible.
    """
    latent: Any = conditional_latent(config) or config.latent
    if placement is not None:
        latent = placement.latent(latent)
    generator_tx = config.generator_optimizer.build()
    if config.ema_decay:
        generator_tx = optax.chain(generator_tx, track_ema(config.ema_decay))
    critic_tx = config.critic_optimizer.build(config.n_critic)
    if config.warmup is not None or config.adaptive is not None:
        critic_tx = follow_iterations(config.critic_optimizer.build())
    projection = None
    if config.clip is not None:
        mask = all_but_norms if config.clip.exempt_norms else None
        if config.clip.before_step:
            projection = partial(project_weights, c=config.clip.c, mask=mask)
        else:
            critic_tx = optax.chain(critic_tx, clip_weights(config.clip.c, mask))
    generator, critic = (
        from_linen(with_fast_dtype(network)) for network in (config.generator, config.critic)
    )
    training: dict[str, Any] = {
        "generator_tx": skip_non_finite(generator_tx),
        "critic_tx": skip_non_finite(critic_tx),
        "latent": latent,
    }
    if isinstance(config.objective, EvidenceBound):
        _require_plain_vae(config)
        return vae(generator, critic, config.objective, **training)
    return gan(
        generator,
        critic,
        config.objective,
        **training,
        penalty=config.penalty,
        critic_projection=projection,
        unrolled_steps=config.unrolled_steps,
    )


def conditional_latent(config: Config) -> Labelled | Conditioned | None:
    """Builds the latent of a conditional config, with the data's frequencies; None otherwise.

    Raises:
      UserError: networks and data set disagree on classes or conditions.
    """
    classes, rows = _num_classes(config), config.dataset.condition_rows()
    _require_condition_dim(config)
    if rows is not None:
        return Conditioned(noise=config.latent, rows=rows)
    if not classes:
        return None
    try:
        return Labelled(noise=config.latent, num_classes=classes, counts=config.class_counts)
    except ValueError as error:
        raise UserError(f"class_counts: {error}") from error


def with_class_counts(config: Config, data: Dataset, saved: tuple[int, ...] = ()) -> Config:
    """Fills in the examples per class: those that the run has saved, or else those of the data."""
    counts = saved if (classes := _num_classes(config)) else ()
    if classes and not counts:
        counts = count_classes(data.class_labels(), classes)
    return dataclasses.replace(config, class_counts=counts)


def _num_classes(config: Config) -> int:
    """Returns the number of classes, 0 if unconditional; data and both networks must agree."""
    labels = bool(config.dataset.labels)
    ours = config.num_classes
    theirs = getattr(config.critic, "num_classes", 0)
    if ours != theirs or labels != bool(ours):
        raise UserError(
            f"labels must go to both players or to neither: dataset.labels is {labels}, "
            f"generator.num_classes is {ours}, critic.num_classes is {theirs}"
        )
    return ours


def _require_condition_dim(config: Config) -> None:
    dim, ours = config.dataset.condition_dim(), config.condition_dim
    theirs = getattr(config.critic, "condition_dim", 0)
    if not dim == ours == theirs:
        raise UserError(
            f"conditions must go to both players or to neither: the data have {dim} numbers, "
            f"generator.condition_dim is {ours}, critic.condition_dim is {theirs}"
        )


def fit_to_data(config: Config) -> Config:
    """Fills in the network fields that the data determine, such as sizes and classes.

    Only fields at their default change: the output shape of an MLP, the image size, the number of
    classes and the number of values in a condition.

    Raises:
      UserError: the data cannot be read, or their image size differs from the networks'.
    """
    shape = config.dataset.example_shape()
    if shape is None:
        return config
    generator, critic = config.generator, config.critic
    if isinstance(generator, MLP) and generator.output_shape in ((), _PLANE):
        generator = dataclasses.replace(generator, output_shape=shape)
    if len(shape) == 3:
        generator, critic = _fit_images(generator, shape), _fit_images(critic, shape)
    classes, dim = config.dataset.num_classes(), config.dataset.condition_dim()
    fitted: dict[str, Any] = {}
    for name, value in {"num_classes": classes, "condition_dim": dim}.items():
        if value and getattr(generator, name, None) == 0 == getattr(critic, name, None):
            fitted[name] = value
    generator = dataclasses.replace(generator, **fitted)
    critic = dataclasses.replace(critic, **fitted)
    return dataclasses.replace(config, generator=generator, critic=critic)


def _fit_images(network: Any, shape: tuple[int, ...]) -> Any:
    """Returns the network for images of a shape; one with the default size adapts to it."""
    if not isinstance(network, _IMAGE_NETWORKS):
        return network
    height, width, channels = shape
    size = height if height == width else (height, width)
    kind = type(network)
    try:
        sides = halvings(size).sides
    except ValueError as error:
        images = f"images of {height} x {width}"
        raise UserError(f"{kind.__name__} does not support {images}: {error}") from error
    if (network.image_size, network.channels) in _DEFAULT_SIZES:
        return dataclasses.replace(network, image_size=size, channels=channels)
    theirs = (*halvings(network.image_size).sides, network.channels)
    if theirs != (*sides, channels):
        ours, other = (" x ".join(map(str, x)) for x in (shape, theirs))
        raise UserError(f"the data are images of {ours}, but {kind.__name__} is for {other}")
    return network


def _require_plain_vae(config: Config) -> None:
    if config.clip or config.penalty or config.unrolled_steps or config.adaptive:
        raise UserError(
            "the evidence bound trains a VAE, which has no critic to constrain: "
            "set --clip none, --penalty none, --adaptive none and --unrolled-steps 0"
        )
    if not isinstance(config.latent, Normal):
        raise UserError("the evidence bound needs a normal latent: set --latent normal")


def constraint_warning(config: Config) -> str:
    """Says that the critic is constrained twice, or not at all; empty otherwise."""
    # Critics without the field are 1-Lipschitz by construction, or of a kind unknown here.
    is_normalized = getattr(config.critic, "spectral_norm", None)
    bounds_itself = is_normalized or isinstance(config.critic, GroupSort | Cones)
    if config.clip and (config.penalty or bounds_itself):
        other = "the penalty" if config.penalty else "its layers"
        return f"clipping and {other} both constrain the critic: --clip none leaves that to {other}"
    unbounded = not (config.clip or config.penalty) and is_normalized is False
    if unbounded and isinstance(config.objective, Wasserstein):
        return (
            "nothing bounds the critic's slope, so its estimate is no distance and may grow "
            "forever: set --clip clip, a --penalty or --critic.spectral-norm"
        )
    return ""


def open_dataset(config: Config, schema: Schema | None = None) -> Dataset:
    """Opens the data set of a config, on the device or as a stream, and checks its size.

    Args:
      config: the experiment.
      schema: schema that the run started with; the data keep its units.

    Raises:
      UserError: the data cannot be opened, or are incompatible with the rest of the config.
    """
    data = config.dataset.open().in_units(None if schema is None else schema.units)
    require_enough(data.size, config)
    if data.is_stream and config.adaptive:
        raise UserError("a stream is read in fixed portions: set --adaptive none and use n_critic")
    if classes := _num_classes(config):
        count_classes(data.class_labels(), classes)
    return data.on_device()


def require_enough(size: int | None, config: Config) -> None:
    """Rejects a data set that is smaller than a batch; a `size` of None is a distribution.

    Raises:
      UserError: there are fewer than two examples, or fewer than `batch_size`.
    """
    if size is None:
        return
    if size < 2:
        has = f"{size} example{'' if size else 's'}"
        raise UserError(f"the data set has {has}, but comparisons need at least two")
    if size < config.batch_size:
        raise UserError(
            f"batch_size {config.batch_size} is larger than the data set ({size:,} examples)"
        )


def sample_struct(config: Config, batch_size: int, schema: Schema = _NO_SCHEMA) -> PyTree:
    """Returns shapes and dtypes of one batch, without opening data with a known schema."""
    classes = _num_classes(config)
    if schema.units is None or schema.conditions is not None:
        return config.dataset.struct(batch_size)
    x = jax.ShapeDtypeStruct((batch_size, *schema.units.example_shape), np.float32)
    return (x, jax.ShapeDtypeStruct((batch_size,), np.int32)) if classes else x


def with_fast_dtype(module: Any) -> Any:
    """Returns the network, computing in float32 on a CPU, where bfloat16 is slower.

    The config and the float32 weights do not change, so the run can resume in bfloat16 on an
    accelerator. A warning is logged once.
    """
    if getattr(module, "dtype", None) != "bfloat16" or jax.default_backend() != "cpu":
        return module
    _warn_of_float32()
    return module.clone(dtype="float32")


@functools.cache
def _warn_of_float32() -> None:
    logger.warning(
        "computing in float32: on a CPU bfloat16 takes more than twice as long; "
        "the config keeps bfloat16 for accelerators"
    )
