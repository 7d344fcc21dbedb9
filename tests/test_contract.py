"""Every component of the library passes the public checks of `wgan_jax.testing`."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wgan_jax import (
    DRAGAN,
    MLP,
    Consistency,
    DCGANCritic,
    DCGANGenerator,
    DivergencePenalty,
    EvidenceBound,
    GradientPenalty,
    Hinge,
    JensenShannon,
    LeastSquares,
    LipschitzPenalty,
    RelativisticPairing,
    ResNetCritic,
    ResNetGenerator,
    Wasserstein,
    ZeroCentered,
    all_but_norms,
    clip_weights,
    from_linen,
    gan,
    latents,
    toy,
    vae,
)
from wgan_jax.data.arrays import ArrayDataset
from wgan_jax.data.funnels import Funnels
from wgan_jax.networks import Cones, GroupSort
from wgan_jax.testing import (
    check_gan,
    check_network,
    check_objective,
    check_optimizer,
    check_penalty,
    check_sampler,
)
from wgan_jax.transforms.ema import track_ema
from wgan_jax.transforms.optimizers import SGD, Adam, RMSProp


def quick_and_slow(quick, rest):
    """All of them are checked with `-m slow`; the quick ones at every turn as well."""
    return [*quick, *(pytest.param(name, marks=pytest.mark.slow) for name in rest)]


OBJECTIVES = [
    Wasserstein(),
    JensenShannon(generator="minimax"),
    JensenShannon(generator="non_saturating"),
    LeastSquares(),
    Hinge(),
    RelativisticPairing(),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_objectives(objective):
    check_objective(objective, wasserstein=isinstance(objective, Wasserstein))


PENALTIES = quick_and_slow(
    [GradientPenalty(), Consistency(gradient_weight=5.0)],
    [
        GradientPenalty(weight=3.0, sides="one"),
        LipschitzPenalty(),
        DRAGAN(),
        DivergencePenalty(),
        ZeroCentered(),
    ],
)


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_penalties(penalty):
    check_penalty(penalty)


IMAGE = {"image_size": 16, "channels": 1, "filters": 2}
SMALL = {"image_size": 8, "channels": 1, "filters": 2}
CRITICS = {
    "mlp": (MLP(features=(8, 8)), (2,), None),
    "mlp with batch norm": (MLP(features=(8, 8), norm="batch"), (2,), None),
    "mlp with layer norm": (MLP(features=(8, 8), norm="layer"), (2,), None),
    "mlp with dropout": (MLP(features=(8,), dropout=0.5), (2,), None),
    "cones": (Cones(count=5), (3,), 1.0),
    "groupsort": (GroupSort(features=(8, 8)), (3,), 1.0),
    "dcgan": (DCGANCritic(norm="layer", **IMAGE), (16, 16, 1), None),
    "dcgan with batch norm": (DCGANCritic(norm="batch", **IMAGE), (16, 16, 1), None),
    "dcgan with spectral norm": (
        DCGANCritic(norm="none", spectral_norm=True, **IMAGE),
        (16, 16, 1),
        None,
    ),
    "resnet": (ResNetCritic(**SMALL), (8, 8, 1), None),
}
GENERATORS = {
    "mlp": MLP(features=(8,), output_shape=(2,)),
    "mlp with batch norm": MLP(features=(8,), output_shape=(2,), norm="batch"),
    "dcgan": DCGANGenerator(**IMAGE),
    "resnet": ResNetGenerator(**SMALL),
}


@pytest.mark.parametrize(
    "name",
    quick_and_slow(
        ["mlp with batch norm", "mlp with layer norm", "mlp with dropout", "cones", "groupsort"],
        ["mlp", "dcgan", "dcgan with batch norm", "dcgan with spectral norm", "resnet"],
    ),
)
def test_critics(name, key):
    module, shape, lipschitz = CRITICS[name]
    x = jax.random.normal(key, (4, *shape))
    check_network(from_linen(module), x, scores=True, lipschitz=lipschitz, rtol=1e-3)


@pytest.mark.parametrize("name", quick_and_slow([], GENERATORS))
def test_generators(name, key):
    check_network(from_linen(GENERATORS[name]), jax.random.normal(key, (4, 3)), rtol=1e-3)


@pytest.mark.parametrize("player", quick_and_slow(["generator"], ["critic"]))
def test_conditional_networks(player, key):
    label = jnp.arange(4, dtype=jnp.int32) % 3
    module = MLP(features=(8,), num_classes=3)
    if player == "generator":
        module = MLP(features=(8,), num_classes=3, output_shape=(2,))
    x = jax.random.normal(key, (4, 2)), label
    check_network(from_linen(module), x, scores=player == "critic")


WEIGHTS = {
    "dense": {"kernel": jnp.linspace(-0.1, 0.1, 6).reshape(3, 2), "bias": jnp.zeros(2)},
    "half": {"kernel": jnp.full(4, 0.04, jnp.bfloat16)},
    "norm": {"scale": jnp.ones(2), "bias": jnp.zeros(2)},
}
FLOATS = {"dense": WEIGHTS["dense"]}
OPTIMIZERS = {
    "clip_weights": (optax.chain(optax.sgd(0.1), clip_weights(0.01)), 0.01, None),
    "clip_weights but norms": (
        optax.chain(optax.sgd(0.1), clip_weights(0.01, all_but_norms)),
        0.01,
        all_but_norms,
    ),
    "track_ema": (optax.chain(optax.sgd(0.1), track_ema(0.9)), None, None),
    "rmsprop torch": (RMSProp(preset="torch").build(), None, None),
    "rmsprop tf1": (RMSProp(preset="tf1").build(), None, None),
    "rmsprop optax": (RMSProp(preset="optax").build(), None, None),
    "rmsprop falling": (RMSProp(decay="linear", decay_iterations=9).build(5), None, None),
    "adam": (Adam().build(), None, None),
    "sgd": (SGD(momentum=0.9).build(), None, None),
}


@pytest.mark.parametrize(
    "name",
    quick_and_slow(
        ["clip_weights", "clip_weights but norms", "track_ema", "rmsprop torch"],
        ["rmsprop tf1", "rmsprop optax", "rmsprop falling", "adam", "sgd"],
    ),
)
def test_optimizers(name):
    tx, clip, mask = OPTIMIZERS[name]
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam does not pass "strict"
        check_optimizer(tx, FLOATS if clip is None else WEIGHTS, clip=clip, clip_mask=mask)


IMAGES = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2, 1)
SAMPLERS = {
    "ring": toy.Ring(),
    "grid": toy.Grid(),
    "swiss roll": toy.SwissRoll(),
    "arrays": ArrayDataset((IMAGES, np.arange(6, dtype=np.int32))),
    "normal": latents.Normal(dim=3),
    "uniform": latents.Uniform(dim=3),
    "labelled": latents.Labelled(noise=latents.Normal(dim=3), num_classes=4),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers(name):
    # Latents are closed over and not arguments, so they need not be pytrees.
    is_latent = name in ("normal", "uniform", "labelled")
    check_sampler(SAMPLERS[name], skip=("argument",) if is_latent else ())


def test_both_laws_of_the_funnels():
    funnels = Funnels.draw(dim=3, count=4)
    for law in (funnels, funnels.target):
        check_sampler(law, skip=("argument",))


def latent(key, n):
    return jax.random.normal(key, (n, 3))


def toy_gan(objective=Wasserstein(), critic=None, generator=None, **options):  # noqa: B008
    return gan(
        from_linen(generator or MLP(features=(8,), output_shape=(2,))),
        from_linen(critic or MLP(features=(8,))),
        objective,
        generator_tx=options.pop("generator_tx", optax.sgd(1e-2)),
        critic_tx=options.pop("critic_tx", optax.sgd(1e-2)),
        latent=options.pop("latent", latent),
        **options,
    )


def clipped(rate):
    return optax.chain(RMSProp(learning_rate=rate).build(), clip_weights(0.05))


POINTS = toy.Ring()(jax.random.key(1), 4)
LABELLED = POINTS, jnp.arange(4, dtype=jnp.int32) % 3
# method: GAN, real samples, box
METHODS = {
    "wgan": lambda: (
        toy_gan(critic_tx=clipped(1e-3), generator_tx=RMSProp(learning_rate=1e-3).build()),
        POINTS,
        0.05,
    ),
    "wgan-gp with averaged weights": lambda: (
        toy_gan(
            penalty=GradientPenalty(), generator_tx=optax.chain(optax.sgd(1e-2), track_ema(0.9))
        ),
        POINTS,
        None,
    ),
    "ct-gan": lambda: (
        toy_gan(penalty=Consistency(), critic=MLP(features=(8,), dropout=0.5)),
        POINTS,
        None,
    ),
    "r3gan": lambda: (toy_gan(RelativisticPairing(), penalty=ZeroCentered()), POINTS, None),
    "unrolled gan": lambda: (toy_gan(JensenShannon(), unrolled_steps=2), POINTS, None),
    "conditional": lambda: (
        toy_gan(
            Hinge(),
            critic=MLP(features=(8,), num_classes=3, spectral_norm=True),
            generator=MLP(features=(8,), num_classes=3, output_shape=(2,)),
            latent=latents.Labelled(noise=latents.Normal(dim=3), num_classes=3),
        ),
        LABELLED,
        None,
    ),
    "vae": lambda: (
        vae(
            from_linen(MLP(features=(8,), output_shape=(2,))),
            from_linen(MLP(features=(8,), output_shape=(6,))),
            EvidenceBound(observation_noise=0.5),
            generator_tx=optax.sgd(1e-3),
            critic_tx=optax.sgd(1e-3),
            latent=latent,
        ),
        POINTS,
        None,
    ),
    "dcgan": lambda: (
        toy_gan(
            generator=DCGANGenerator(**IMAGE),
            critic=DCGANCritic(norm="batch", **IMAGE),
            critic_tx=optax.chain(optax.sgd(1e-2), clip_weights(0.05)),
        ),
        jax.random.normal(jax.random.key(2), (4, 16, 16, 1)),
        0.05,
    ),
}


SLOWEST = ("jit", "vmap", "export")  # many compilations


def test_wgan():
    model, real, clip = METHODS["wgan"]()
    check_gan(model, real, clip=clip, skip=SLOWEST)


class BiasBeforeNorm(nn.Module):
    @nn.compact
    def __call__(self, z, train=True):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(32)(z))
        return nn.Dense(2)(nn.relu(x))


def test_rounding_that_adam_turns_into_a_step_is_no_failure():
    """The gradient of a bias before batch norm is 0 but for rounding."""
    model = toy_gan(
        JensenShannon(),
        generator=BiasBeforeNorm(),
        generator_tx=optax.adam(1e-3),
        critic_tx=optax.adam(1e-3),
    )
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam does not pass "strict"
        others = ("chunks", "donation", "export", "keys", "purity", "vmap")
        check_gan(model, toy.Ring()(jax.random.key(1), 64), skip=others)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_methods(name):
    model, real, clip = METHODS[name]()
    check_gan(model, real, clip=clip, rtol=1e-3)
