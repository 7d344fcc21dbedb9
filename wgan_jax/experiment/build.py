"""From a config to the functions that run it."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import numpy as np
import optax

from wgan_jax.clipping import all_but_norms, clip_weights, project_weights
from wgan_jax.data.arrays import ArrayDataset
from wgan_jax.data.images import TFDS
from wgan_jax.data.labels import count_classes
from wgan_jax.data.stream import ImageStream, TFDSStream
from wgan_jax.ema import track_ema
from wgan_jax.errors import UserError
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.placement import Placement
from wgan_jax.finite import skip_non_finite
from wgan_jax.gan import GAN, gan
from wgan_jax.latents import Labelled, Normal
from wgan_jax.optimizers import follow_iterations
from wgan_jax.types import PyTree, from_linen
from wgan_jax.vae import EvidenceBound, vae


def build_gan(config: Config, placement: Placement | None = None) -> GAN:
    """The GAN of a config, or the VAE in a GAN's clothes.

    Args:
      config: the experiment.
      placement: where its latents shall lie; on the default device if not given.

    Raises:
      UserError: parts that do not go together.
    """
    latent: Any = labelled(config) or config.latent
    if placement is not None:
        latent = placement.latent(latent)
    generator_tx = config.generator_optimizer.build()
    if config.ema_decay:
        generator_tx = optax.chain(generator_tx, track_ema(config.ema_decay))
    critic_tx = config.critic_optimizer.build(config.n_critic)
    if config.warmup is not None or config.adaptive is not None:
        critic_tx = follow_iterations(config.critic_optimizer.build())
    if isinstance(config.objective, EvidenceBound):
        _require_plain_vae(config)
        return vae(
            from_linen(config.generator),
            from_linen(config.critic),
            config.objective,
            generator_tx=skip_non_finite(generator_tx),
            critic_tx=skip_non_finite(critic_tx),
            latent=latent,
        )
    projection = None
    if config.clip is not None:
        mask = all_but_norms if config.clip.exempt_norms else None
        if config.clip.before_step:
            projection = partial(project_weights, c=config.clip.c, mask=mask)
        else:
            critic_tx = optax.chain(critic_tx, clip_weights(config.clip.c, mask))
    return gan(
        from_linen(config.generator),
        from_linen(config.critic),
        config.objective,
        generator_tx=skip_non_finite(generator_tx),
        critic_tx=skip_non_finite(critic_tx),
        latent=latent,
        penalty=config.penalty,
        critic_projection=projection,
        unrolled_steps=config.unrolled_steps,
    )


def labelled(config: Config) -> Labelled | None:
    """The latent of a conditional config with labels as frequent as in its data; None of another.

    Raises:
      UserError: networks and data set do not agree on classes.
    """
    classes = _num_classes(config)
    if not classes:
        return None
    try:
        return Labelled(noise=config.latent, num_classes=classes, counts=config.class_counts)
    except ValueError as error:
        raise UserError(f"class_counts: {error}") from error


def with_class_counts(config: Config, data: Any, saved: tuple[int, ...] = ()) -> Config:
    """The config with the examples of each class, those that its run has saved if there are any."""
    counts = saved if (classes := _num_classes(config)) else ()
    if classes and not counts:
        counts = count_classes(jax.device_get(jax.tree.leaves(data.examples)[1]), classes)
    return dataclasses.replace(config, class_counts=counts)


def _num_classes(config: Config) -> int:
    """Of a conditional config, 0 of another; the data set and both networks have to agree."""
    labels = getattr(config.dataset, "labels", False)
    ours = config.generator.num_classes
    theirs = getattr(config.critic, "num_classes", 0)
    if ours != theirs or labels != bool(ours):
        raise UserError(
            f"labels go to both players or to none: dataset.labels is {labels}, "
            f"generator.num_classes is {ours}, critic.num_classes is {theirs}"
        )
    return ours


def _require_plain_vae(config: Config) -> None:
    if config.clip or config.penalty or config.unrolled_steps or config.adaptive:
        raise UserError(
            "the evidence bound trains a VAE, which has no critic to constrain: "
            "set --clip none, --penalty none, --adaptive none and --unrolled-steps 0"
        )
    if not isinstance(config.latent, Normal):
        raise UserError("the evidence bound needs a normal latent: set --latent normal")


def open_dataset(config: Config) -> Any:
    """The sampler or stream of a config's data set, checked against the batch size."""
    opener = getattr(config.dataset, "open", None)
    data = config.dataset if opener is None else opener()
    if isinstance(data, ArrayDataset | ImageStream) and data.size < 2:
        raise UserError(f"the data set has {data.size} example, and needs two to be compared with")
    if isinstance(data, ArrayDataset | ImageStream) and data.size < config.batch_size:
        raise UserError(
            f"batch_size {config.batch_size} is larger than the data set ({data.size} examples)"
        )
    if isinstance(data, ImageStream) and config.adaptive:
        raise UserError("a stream is read in fixed portions: set --adaptive none, and n_critic")
    if isinstance(data, ArrayDataset) and (classes := _num_classes(config)):
        count_classes(jax.tree.leaves(data.examples)[1], classes)
    return jax.device_put(data) if isinstance(data, ArrayDataset) else data


def sample_struct(config: Config, batch_size: int) -> PyTree:
    """Shapes and dtypes of one batch, without opening a data set that has to be prepared."""
    dataset = config.dataset
    if not isinstance(dataset, TFDS | TFDSStream):
        return real_struct(open_dataset(config), batch_size)
    side = dataset.image_size
    images = jax.ShapeDtypeStruct((batch_size, side, side, dataset.channels), np.float32)
    if not _num_classes(config):
        return images
    return images, jax.ShapeDtypeStruct((batch_size,), np.int32)


def real_struct(data: Any, batch_size: int) -> PyTree:
    """Shapes and dtypes of one batch of real samples."""
    if isinstance(data, ImageStream):
        shape = (batch_size, *data.image_shape)
        return jax.ShapeDtypeStruct(shape, np.float32)
    return jax.eval_shape(lambda key: data(key, batch_size), jax.random.key(0))
