"""Options of every network: labels, spectral norm, dropout and sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wgan_jax import (
    MLP,
    DCGANCritic,
    DCGANGenerator,
    GradientPenalty,
    Hinge,
    ResNetCritic,
    ResNetGenerator,
    Wasserstein,
    from_linen,
    gan,
)
from wgan_jax.networks import Cones, GroupSort

CLASSES, NOISE = 3, 4

# name: generator, critic, shape of a sample
PAIRS = {
    "mlp": (MLP(features=(8,), output_shape=(2,)), MLP(features=(8,)), (2,)),
    "dcgan": (
        DCGANGenerator(image_size=16, channels=1, filters=2),
        DCGANCritic(image_size=16, channels=1, filters=2, norm="layer"),
        (16, 16, 1),
    ),
    "resnet8": (
        ResNetGenerator(image_size=8, channels=1, filters=2),
        ResNetCritic(image_size=8, channels=1, filters=2),
        (8, 8, 1),
    ),
    "resnet32": (
        ResNetGenerator(image_size=32, channels=1, filters=2),
        ResNetCritic(image_size=32, channels=1, filters=2),
        (32, 32, 1),
    ),
    "resnet64": (
        ResNetGenerator(image_size=64, channels=1, filters=1),
        ResNetCritic(image_size=64, channels=1, filters=1),
        (64, 64, 1),
    ),
}
LARGE = {"resnet64"}
NETWORKS = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in PAIRS]
)
IMAGES = pytest.mark.parametrize("name", ["mlp", "dcgan", "resnet8"])


def conditional(name):
    generator, critic, shape = PAIRS[name]
    return generator.copy(num_classes=CLASSES), critic.copy(num_classes=CLASSES), shape


def labels(n):
    return jnp.arange(n, dtype=jnp.int32) % CLASSES


def build(generator, critic, objective=None, **options):
    def latent(key, n):
        on_noise, on_label = jax.random.split(key)
        noise = jax.random.normal(on_noise, (n, NOISE))
        if not generator.num_classes:
            return noise
        return noise, jax.random.randint(on_label, (n,), 0, CLASSES, jnp.int32)

    return gan(
        from_linen(generator),
        from_linen(critic),
        Wasserstein() if objective is None else objective,
        generator_tx=options.pop("generator_tx", optax.sgd(0.05)),
        critic_tx=options.pop("critic_tx", optax.sgd(0.05)),
        latent=latent,
        **options,
    )


@pytest.mark.parametrize("name", ["mlp", "dcgan", pytest.param("resnet32", marks=pytest.mark.slow)])
def test_labels_go_through_training_in_one_exported_program(name, key):
    """jit, vmap over a learning rate, scan and export at once, with a penalty."""
    generator, critic, shape = conditional(name)
    reals = jnp.ones((2, 3, *shape)), jnp.stack([labels(3)] * 2)

    def losses(rate, key, reals):
        model = build(generator, critic, penalty=GradientPenalty(), critic_tx=optax.sgd(rate))
        state = model.init(jax.random.wrap_key_data(key), jax.tree.map(lambda x: x[0], reals))

        def iteration(state, _):
            return model.train_step(state, reals)

        state, metrics = jax.lax.scan(iteration, state, length=2)
        return metrics, model.generate(state, jax.random.key(1), 3)

    arguments = jnp.array([1e-4, 1e-2]), jax.random.key_data(key), reals
    program = jax.jit(jax.vmap(losses, in_axes=(0, None, None)))
    metrics, (image, label) = jax.export.export(program)(*arguments).call(*arguments)
    assert all(jnp.isfinite(m).all() for m in metrics.values())
    assert metrics["critic/loss"][0, -1] != metrics["critic/loss"][1, -1]
    assert image.shape == (2, 3, *shape)
    assert label.shape == (2, 3)
    assert label.dtype == jnp.int32


@NETWORKS
def test_both_players_hear_the_label(name, key):
    generator, critic, shape = conditional(name)

    @jax.jit
    def play(key):
        on_generator, on_critic, on_image = jax.random.split(key, 3)
        z = jnp.ones((3, NOISE)), labels(3)
        variables = generator.init(on_generator, z)
        image, label = generator.apply(variables, z, train=False)
        x = jnp.broadcast_to(jax.random.normal(on_image, shape), (3, *shape)), labels(3)
        return image, label, critic.apply(critic.init(on_critic, x), x, train=False)

    image, label, scores = play(key)
    assert (label == labels(3)).all()
    assert image.shape == (3, *shape)
    assert np.ptp(image, axis=0).max() > 0  # one noise, three labels
    assert len(set(scores.tolist())) == 3


@NETWORKS
def test_missing_labels_are_named(name, key):
    generator, critic, shape = conditional(name)
    for module, x in ((generator, jnp.ones((2, NOISE))), (critic, jnp.ones((2, *shape)))):
        with pytest.raises(ValueError, match="labels are missing"):
            jax.eval_shape(module.init, key, x)
        with pytest.raises(ValueError, match="num_classes=0"):
            jax.eval_shape(module.copy(num_classes=0).init, key, (x, labels(2)))
        with pytest.raises(ValueError, match="of integers"):
            jax.eval_shape(module.init, key, (x, jnp.ones(2)))
        with pytest.raises(ValueError, match="-2"):
            jax.eval_shape(module.copy(num_classes=-2).init, key, x)


@IMAGES
def test_spectral_norm_makes_weights_of_norm_one(name, key):
    _, critic, shape = PAIRS[name]
    norms = {} if name == "mlp" else {"norm": "none"}
    network = from_linen(critic.copy(spectral_norm=True, **norms))
    x = jnp.ones((2, *shape))
    params, stats = network.init(key, x)
    assert list(stats) == ["spectral_stats"]
    train = jax.jit(lambda stats: network.apply(params, stats, x, train=True)[1])
    for _ in range(60):
        stats = train(stats)
    sigmas = {
        jax.tree_util.keystr(path): value
        for path, value in jax.tree_util.tree_leaves_with_path(stats)
        if "sigma" in jax.tree_util.keystr(path)
    }
    kernels = [
        np.linalg.norm(w.reshape(-1, w.shape[-1]), 2)
        for path, w in jax.tree_util.tree_leaves_with_path(params)
        if "kernel" in jax.tree_util.keystr(path)
    ]
    np.testing.assert_allclose(sorted(sigmas.values()), sorted(kernels), rtol=0.03)
    scaled = jax.tree.map(lambda w: 7 * w if w.ndim > 1 else w, params)
    rescaled = network.apply(scaled, stats, x, train=True)[0]
    np.testing.assert_allclose(rescaled, network.apply(params, stats, x, train=True)[0], rtol=1e-4)


def test_spectral_norm_goes_with_a_penalty_and_bounds_an_mlp(key):
    critic = MLP(features=(8, 8), spectral_norm=True)
    model = build(
        MLP(features=(8,), output_shape=(2,)),
        critic,
        Hinge(),
        critic_tx=optax.sgd(1.0),
        penalty=GradientPenalty(),
    )
    x = jax.random.normal(jax.random.key(1), (16, 2))
    state = model.init(key, x)
    for _ in range(20):
        state, _ = model.critic_step(state, x)

    def score(x):
        return critic.apply({"params": state.critic.params, **state.critic.stats}, x[None])[0]

    slopes = jnp.linalg.norm(jax.vmap(jax.grad(score))(4 * x), axis=1)
    assert slopes.max() < 1.05


@IMAGES
def test_dropout_acts_in_training_only(name, key):
    _, critic, shape = PAIRS[name]
    network = from_linen(critic.copy(dropout=0.5))
    on_init, one, other = jax.random.split(key, 3)
    x = jax.random.normal(jax.random.key(1), (4, *shape))
    params, stats = network.init(on_init, x)
    first, second = (network.apply(params, stats, x, train=True, key=k)[0] for k in (one, other))
    assert not (first == second).all()
    still = [network.apply(params, stats, x, train=False)[0] for _ in range(2)]
    assert (still[0] == still[1]).all()
    with pytest.raises(ValueError, match=r"1\.5"):
        jax.eval_shape(critic.copy(dropout=1.5).init, jax.random.clone(on_init), x)


@pytest.mark.parametrize("module", [ResNetGenerator, ResNetCritic])
@pytest.mark.parametrize(
    ("size", "named"), [({"image_size": 46}, "46"), ({"filters": 0}, "0")], ids=str
)
def test_sizes_that_are_not_offered_are_named(module, size, named, key):
    x = jnp.ones((2, 4) if module is ResNetGenerator else (2, 48, 48, 3))
    with pytest.raises(ValueError, match=named):
        jax.eval_shape(module(**size).init, key, x)


SIZES = [4, 12, 28, 48, 100, 128, (48, 64), (4, 12), (20, 8), (128, 32)]


@pytest.mark.parametrize("kind", ["DCGAN", "ResNet"])
def test_sizes_are_all_multiples_of_four_square_or_not(kind, key):
    players = {"DCGAN": (DCGANGenerator, DCGANCritic), "ResNet": (ResNetGenerator, ResNetCritic)}
    for size in SIZES:
        make, score = (player(image_size=size, filters=1) for player in players[kind])
        height, width = (size, size) if isinstance(size, int) else size

        def both(z, make=make, score=score):
            x = make.init_with_output(jax.random.clone(key), z)[0]
            return x, score.init_with_output(jax.random.clone(key), x)[0]

        x, scores = jax.eval_shape(both, jnp.ones((2, 4)))
        assert x.shape == (2, height, width, 3), size
        assert scores.shape == (2,)


def test_images_of_another_size_are_named(key):
    with pytest.raises(ValueError, match=r"\(32, 32, 3\), got \(64, 64, 3\)"):
        jax.eval_shape(ResNetCritic(filters=2).init, key, jnp.ones((2, 64, 64, 3)))


def test_the_papers_networks_have_the_papers_sizes(key):
    """At 32 pixels three and four blocks of 128."""

    def count(module, x):
        variables = jax.eval_shape(module.init, key, x)
        return sum(w.size for w in jax.tree.leaves(variables["params"]))

    d = 128
    conv, norm = 9 * d * d + d, 2 * d
    up = 2 * conv + 2 * norm + d * d + d
    generator = (128 + 1) * 16 * d + 3 * up + norm + 9 * d * 3 + 3
    assert count(ResNetGenerator(), jnp.ones((2, 128))) == generator
    first = 9 * 3 * d + d + conv + 3 * d + d
    critic = first + (2 * conv + 2 * norm + d * d + d) + 2 * (2 * conv + 2 * norm) + d + 1
    assert count(ResNetCritic(), jnp.ones((2, 32, 32, 3))) == critic


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        *((network, x) for g, c, shape in PAIRS.values() for network, x in ((g, (4,)), (c, shape))),
        (PAIRS["dcgan"][1].copy(spectral_norm=True), (16, 16, 1)),
        (Cones(count=5), (3,)),
        (GroupSort(features=(8,)), (3,)),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, tuple) else None,
)
def test_weights_are_float32_where_jax_has_64_bits(network, shape):
    x = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    with jax.enable_x64(True):
        variables = jax.eval_shape(network.init, jax.random.key(0), x)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
