"""Certified Lipschitz bounds: never below a gradient that ascent finds."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wgan_jax import (
    MLP,
    DCGANCritic,
    ResNetCritic,
    Wasserstein,
    from_linen,
    gan,
    scan_steps,
    toy,
)
from wgan_jax.critic_fit import fit_critic
from wgan_jax.lipschitz import (
    Bounded,
    Convolution,
    Linear,
    Sum,
    bound_of_layers,
    gram_norm,
    lipschitz_bound,
)
from wgan_jax.networks import Cones, GroupSort
from wgan_jax.networks.convolution import Geometry, convolve
from wgan_jax.networks.groupsort import orthonormalize
from wgan_jax.networks.sizes import halvings

_SLACK = 1 + 1e-5  # float32 gradients
NORMS = ("none", "batch", "layer")


def largest(g):
    """The largest value of each sample, as a constant."""
    return jax.lax.stop_gradient(jnp.abs(g).max(tuple(range(1, g.ndim)), keepdims=True)) + 1e-30


def steepest(module, variables, x, steps=15):
    """The largest gradient norm that ascent over samples finds, in float32."""
    kwargs = {"train": False} if isinstance(module, DCGANCritic | ResNetCritic) else {}

    def norm(x):
        g = jax.grad(lambda x: module.apply(variables, x, **kwargs).sum())(x).reshape(len(x), -1)
        size = largest(g)  # squares of large weights' slopes overflow
        return size[:, 0] * jnp.sqrt(((g / size) ** 2).sum(1) + 1e-30)

    def step(x, _):
        g = jax.grad(lambda x: norm(x).sum())(x)
        g = g / largest(g)
        size = jnp.sqrt((g**2).sum(tuple(range(1, x.ndim)), keepdims=True) + 1e-30)
        return x + 0.1 * g / size, norm(x).max()

    x, found = jax.lax.scan(step, x, length=steps)
    return jnp.maximum(found.max(), norm(x).max())


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh"])
def test_bound_is_above_the_gradients_of_a_hundred_networks(activation):
    module = MLP(features=(24, 16), activation=activation)

    @jax.jit
    def one(key):
        init, data, scale = jax.random.split(key, 3)
        x = 2 * jax.random.normal(data, (16, 3))
        variables = module.init(init, x)
        factor = jnp.exp(jax.random.normal(scale))
        return jax.tree.map(lambda w: factor * w, variables), x

    ascend = jax.jit(lambda variables, x: _trace(module, variables, x))
    for seed in range(100):
        variables, x = one(jax.random.key(seed))
        assert float(ascend(variables, x)) <= lipschitz_bound(module, variables).value * _SLACK


def _trace(module, variables, x):
    def norm(x):
        g = jax.grad(lambda x: module.apply(variables, x).sum())(x)
        return jnp.sqrt((g**2).sum(1) + 1e-30)

    def step(x, _):
        return x + 0.1 * jax.grad(lambda x: norm(x).sum())(x), norm(x).max()

    return jax.lax.scan(step, x, length=15)[1].max()


def test_bound_of_a_trained_and_clipped_critic_is_not_loose(key):
    critic = MLP(features=(32, 32))
    x = jax.random.normal(key, (64, 2))
    variables = critic.init(jax.random.key(1), x)
    aligned = jax.tree.map(lambda w: jnp.full_like(w, 0.01), variables)
    bound = lipschitz_bound(critic, aligned)
    box = 0.01**3 * (2 * 32 * 32) ** 0.5 * (32 * 32) ** 0.5 * 1.0
    assert bound.box == pytest.approx(box, rel=1e-5)
    assert bound.value == pytest.approx(float(steepest(critic, aligned, jnp.abs(x))), rel=1e-3)


@pytest.mark.parametrize("extra_layers", [0, 1])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_bound_of_dcgan(norm, extra_layers):
    module = DCGANCritic(image_size=16, channels=1, filters=4, norm=norm, extra_layers=extra_layers)
    for seed in range(3):
        init, data = jax.random.split(jax.random.key(seed))
        x = jax.random.normal(data, (8, 16, 16, 1))
        variables = module.init(init, x)
        if norm == "batch":
            _, stats = module.apply(variables, x, train=True, mutable=["batch_stats"])
            variables = {**variables, **stats}
        bound = lipschitz_bound(module, variables)
        found = steepest(module, variables, x, steps=5)
        assert found <= bound.value * _SLACK
        assert bound.value < 100 * found


def with_statistics(module, variables, x):
    """Its variables after a few batches in training mode."""
    stats = {name: value for name, value in variables.items() if name != "params"}
    for _ in range(3 if stats else 0):
        _, stats = module.apply(
            {"params": variables["params"], **stats}, x, train=True, mutable=list(stats)
        )
    return {"params": variables["params"], **stats}


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize(
    "module",
    [
        *(ResNetCritic(image_size=8, channels=1, filters=3, norm=n) for n in NORMS),
        *(DCGANCritic(image_size=8, channels=1, filters=3, norm=n, extra_layers=1) for n in NORMS),
        DCGANCritic(image_size=(8, 12), channels=1, filters=2, norm="none"),
        *(MLP(features=(16, 16), norm=n) for n in ("batch", "layer")),
        *(
            pytest.param(critic, marks=pytest.mark.slow)
            for critic in (
                ResNetCritic(image_size=32, channels=1, filters=2, norm="none"),
                ResNetCritic(image_size=64, channels=1, filters=1, norm="batch"),
            )
        ),
    ],
    ids=lambda module: f"{type(module).__name__}{getattr(module, 'image_size', '')}-{module.norm}",
)
def test_bound_of_critics_with_every_norm(module, spectral_norm, key):
    module = module.clone(spectral_norm=spectral_norm)
    init, data, scale = jax.random.split(key, 3)
    x = jax.random.normal(data, (4, *halvings(getattr(module, "image_size", 8)).sides, 1))
    variables = with_statistics(module, module.init(init, x), x)
    factor = jnp.exp(jax.random.normal(scale))
    variables["params"] = jax.tree.map(lambda w: factor * w, variables["params"])
    bound = lipschitz_bound(module, variables)
    assert 0 < steepest(module, variables, x, steps=3) <= bound.value * _SLACK


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    [
        *(MLP(features=(16, 16), activation=a) for a in ("relu", "leaky_relu", "tanh")),
        MLP(features=(16, 16), spectral_norm=True),
        GroupSort(features=(16, 16)),
        *(DCGANCritic(image_size=8, channels=1, filters=3, norm=n, extra_layers=1) for n in NORMS),
        DCGANCritic(image_size=8, channels=1, filters=3, norm="none", spectral_norm=True),
        *(ResNetCritic(image_size=8, channels=1, filters=3, norm=n) for n in NORMS),
    ],
    ids=lambda module: f"{type(module).__name__}-{getattr(module, 'norm', '')}",
)
def test_bound_of_random_and_of_trained_networks(module):
    """40 seeds of each kind, at random with weights of any size, and trained to tell two laws."""
    image = isinstance(module, DCGANCritic | ResNetCritic)
    shape = (8, 8, 1) if image else (3,)
    fit = fit_critic(
        from_linen(module),
        Wasserstein(),
        lambda key, n: jax.random.normal(key, (n, *shape)),
        lambda key, n: 0.5 + 2 * jax.random.normal(key, (n, *shape)),
        critic_tx=optax.rmsprop(1e-2),
        steps=30,
        batch_size=16,
    )
    ascend = jax.jit(lambda variables, x: steepest(module, variables, x, steps=5))
    begin = jax.jit(lambda key, x: with_statistics(module, module.init(key, x), x))
    for seed in range(40):
        of_init, data, scale, training = jax.random.split(jax.random.key(seed), 4)
        x = jax.random.normal(data, (8, *shape))
        fresh = begin(of_init, x)
        fresh["params"] = jax.tree.map(
            jnp.exp(2 * jax.random.normal(scale)).__mul__, fresh["params"]
        )
        critic, _ = fit(training)
        for variables in (fresh, {"params": critic.params, **critic.stats}):
            found = float(ascend(variables, x))
            assert found <= lipschitz_bound(module, variables).value * _SLACK + 1e-12


def test_spectral_norm_counts_as_it_is_applied(key):
    module = MLP(features=(16, 16), spectral_norm=True)
    x = jax.random.normal(key, (32, 3))
    variables = with_statistics(module, module.init(jax.random.key(1), x), x)
    variables["params"] = jax.tree.map(lambda w: 0.01 * w, variables["params"])
    bound = lipschitz_bound(module, variables).value
    assert steepest(module, variables, x) <= bound * _SLACK
    assert bound > 0.5


def test_residual_branches_add_up():
    identity, half = [], [Bounded(0.5)]
    bound = bound_of_layers([Sum((identity, half)), Linear(2 * np.eye(3))])
    assert bound.value == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("window", [3, 4, 5])
def test_bound_of_a_convolution_against_its_matrix(stride, window):
    kernel = np.random.default_rng(window).normal(size=(window, window, 2, 3))
    geometry = Geometry((12, 12), (window, window), stride, 1)
    x = jnp.eye(12 * 12 * 2).reshape(-1, 12, 12, 2)
    y = convolve(geometry, x, jnp.asarray(kernel, jnp.float32))
    matrix = np.asarray(y, np.float64).reshape(288, -1)
    exact = np.linalg.norm(matrix, 2)
    bound = bound_of_layers([Convolution(kernel, geometry)])
    assert exact <= bound.value * _SLACK
    assert bound.norms <= 1.25 * exact
    assert bound.box >= exact


def test_gram_norm_is_above_and_close():
    for seed in range(50):
        r = np.random.default_rng(seed)
        matrix = r.normal(size=(r.integers(1, 60), r.integers(1, 60))) * 10.0 ** r.integers(-9, 9)
        exact = np.linalg.norm(matrix, 2)
        assert exact <= gram_norm(matrix) <= 1.05 * exact
    assert gram_norm(np.zeros((3, 2))) == 0


def test_groupsort_is_one_lipschitz_whatever_its_weights():
    module = GroupSort(features=(16, 16))
    x = jax.random.normal(jax.random.key(0), (64, 4))
    ascend = jax.jit(lambda variables: _trace(module, variables, x))
    for seed in range(10):
        variables = module.init(jax.random.key(seed), x)
        noise = jax.tree.map(lambda w: 5.0 * w**3 - 0.3, variables)
        for weights in (variables, noise):
            assert lipschitz_bound(module, weights).value <= 1.002
            assert ascend(weights) <= 1 + 1e-4
        assert ascend(variables) > 0.5


def test_orthonormal_kernels(key):
    for shape, one in zip(((6, 3), (3, 6)), jax.random.split(key), strict=True):
        w = orthonormalize(jax.random.normal(one, shape), 30)
        small = w.T @ w if shape[0] > shape[1] else w @ w.T
        assert jnp.allclose(small, jnp.eye(3), atol=1e-3)


@pytest.mark.parametrize("temperature", [0.0, 0.3])
@pytest.mark.parametrize("dim", [2, 30])
def test_cones_are_one_lipschitz(temperature, dim):
    module = Cones(count=20, temperature=temperature)
    x = jax.random.normal(jax.random.key(0), (64, dim))
    variables = module.init(jax.random.key(1), x)
    f = module.apply(variables, x)
    differences = np.abs(np.asarray(f)[:, None] - np.asarray(f)[None])
    apart = np.linalg.norm(np.asarray(x)[:, None] - np.asarray(x)[None], axis=-1)
    assert (differences <= apart * _SLACK + 1e-4).all()
    assert lipschitz_bound(module, variables).value == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 0.01])
@pytest.mark.parametrize("dim", [9, 100, 784])
def test_cones_are_one_lipschitz_in_float32_near_their_centers(temperature, dim):
    """Steps of 1e-5 from centers far from the origin, where squares would cancel; pairs of centers
    a thousandth apart, between which a wrong choice would show."""
    r = np.random.default_rng(0)
    centers = r.normal(size=(32, dim))
    centers[16:] = centers[:16] + 1e-3 * r.normal(size=(16, dim)) / dim**0.5
    step = r.normal(size=(32, dim))
    step *= 1e-5 / np.linalg.norm(step, axis=1, keepdims=True)
    x, y = centers.astype(np.float32), (centers + step).astype(np.float32)
    module = Cones(count=32, temperature=temperature)
    variables = {"params": {"centers": jnp.asarray(x), "offsets": jnp.zeros(32)}}
    f, g = (np.asarray(jax.jit(module.apply)(variables, z), np.float64) for z in (x, y))
    apart = np.linalg.norm(x.astype(np.float64) - y, axis=1)
    assert (np.abs(f - g) <= apart * 1.01 + 1e-7).all()


@pytest.mark.parametrize(
    "module",
    [MLP(features=(4,), dtype="bfloat16"), DCGANCritic(8, 1, dtype="bfloat16"), Cones(count=2)],
    ids=lambda module: type(module).__name__,
)
def test_half_precision_is_not_certified(module):
    weights = {"params": {"kernel": jnp.ones((2, 2), jnp.bfloat16)}}
    with pytest.raises(ValueError, match=r"in bfloat16: .* evaluate it in float32"):
        lipschitz_bound(module, weights)


def test_a_generator_does_not_run_away_from_the_centers_of_cones(key):
    """Scores must not grow far from all centers, where only the generator goes."""
    game = gan(
        from_linen(MLP(features=(32, 32), output_shape=(2,))),
        from_linen(Cones(count=32)),
        Wasserstein(),
        generator_tx=optax.rmsprop(1e-3),
        critic_tx=optax.rmsprop(1e-3),
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
    )
    for_init, for_data, for_samples = jax.random.split(key, 3)
    state = game.init(for_init, toy.Ring()(for_data, 64))
    state, _ = scan_steps(game, n_critic=3, batch_size=64, length=500)(state, toy.Ring())
    samples = game.generate(state, for_samples, 500)
    assert jnp.linalg.norm(samples, axis=1).mean() < 4


@pytest.mark.parametrize("critic", [Cones(count=8), GroupSort(features=(8,))])
def test_one_lipschitz_critics_train_in_a_gan(critic, key):
    game = gan(
        from_linen(MLP(features=(8,), output_shape=(2,))),
        from_linen(critic),
        Wasserstein(),
        generator_tx=optax.sgd(1e-2),
        critic_tx=optax.sgd(1e-2),
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
    )
    state = game.init(key, jnp.zeros((16, 2)))
    before = state.critic.params
    state, metrics = game.train_step(state, jnp.ones((2, 16, 2)))
    assert all(jnp.isfinite(v) for v in metrics.values())
    assert any(
        bool((a != b).any())
        for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(state.critic.params), strict=True)
    )


def test_refusals(key):
    critic = DCGANCritic(image_size=8, channels=1, filters=2, norm="batch", extra_layers=1)
    variables = critic.init(key, jnp.zeros((2, 8, 8, 1)))
    with pytest.raises(ValueError, match="not a function of one sample"):
        lipschitz_bound(critic, {"params": variables["params"]})
    with pytest.raises(ValueError, match="no Lipschitz bound for Dense"):
        lipschitz_bound(nn.Dense(1), {})
    spectral = MLP(features=(4,), spectral_norm=True)
    with pytest.raises(ValueError, match="spectral_stats"):
        lipschitz_bound(spectral, {"params": spectral.init(key, jnp.zeros((1, 2)))["params"]})
    with pytest.raises(ValueError, match="num_classes=3"):
        lipschitz_bound(MLP(num_classes=3), {})
    mlp = MLP(features=(4,))
    broken = jax.tree.map(lambda w: w * jnp.nan, mlp.init(key, jnp.zeros((1, 2))))
    with pytest.raises(ValueError, match="not finite"):
        lipschitz_bound(mlp, broken)
