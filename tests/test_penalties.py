"""Properties that every penalty must satisfy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wgan_jax import (
    MLP,
    DCGANCritic,
    DCGANGenerator,
    Network,
    ResNetCritic,
    Wasserstein,
    from_linen,
    gan,
    scan_steps,
    toy,
)
from wgan_jax.networks import GroupSort
from wgan_jax.penalties import (
    DRAGAN,
    Consistency,
    DivergencePenalty,
    GradientPenalty,
    LipschitzPenalty,
)
from wgan_jax.penalties.base import gradient_norm, interpolate

SLOPE = np.array([1.5, -2.0, 0.3])
NORM = np.linalg.norm(SLOPE)

# penalty and its closed form for the critic x -> s SLOPE . x, whose gradient has norm s NORM
TABLE = [
    (GradientPenalty(), lambda s: 10 * (s * NORM - 1) ** 2),
    (GradientPenalty(weight=3.0, sides="one"), lambda s: 3 * max(s * NORM - 1, 0) ** 2),
    (LipschitzPenalty(), lambda s: 10 * max(s * NORM - 1, 0) ** 2),
    (DRAGAN(), lambda s: 10 * (s * NORM - 1) ** 2),
    (DivergencePenalty(), lambda s: 2 * (s * NORM) ** 6),
    (DivergencePenalty(weight=0.5, power=2.0), lambda s: 0.5 * (s * NORM) ** 2),
    # its dropout scores half of the samples, and both draws are fixed below
    (Consistency(gradient_weight=5.0), lambda s: 5 * (s * NORM - 1) ** 2),
]
PENALTIES = pytest.mark.parametrize("penalty", [row[0] for row in TABLE], ids=repr)


def linear(slope):
    """A linear critic; a key adds noise with no gradient and no size, so that it has dropout."""

    def critic(x, key=None):
        scores = x @ slope
        return scores if key is None else scores + 0.0 * jax.random.normal(key, scores.shape)

    return critic


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0])
@pytest.mark.parametrize(("penalty", "closed_form"), TABLE, ids=[repr(row[0]) for row in TABLE])
def test_a_linear_critic_pays_its_closed_form(penalty, closed_form, scale, key):
    on_real, on_fake, on_penalty = jax.random.split(key, 3)
    real, fake = (jax.random.normal(k, (16, 3)) for k in (on_real, on_fake))
    critic = linear(jnp.asarray(scale * SLOPE, jnp.float32))
    value = penalty(critic, real, fake, on_penalty)
    np.testing.assert_allclose(value, closed_form(scale), rtol=1e-4, atol=1e-9)


@PENALTIES
def test_the_gradient_is_finite_at_a_zero_critic(penalty, key):
    x = jnp.ones((4, 3))
    value, slope = jax.value_and_grad(lambda w: penalty(linear(w), x, -x, key))(jnp.zeros(3))
    assert jnp.isfinite(value)
    assert jnp.isfinite(slope).all()


@PENALTIES
def test_gradients_are_finite_where_samples_are_alike_and_slopes_vanish(penalty):
    def critic(x, key=None):
        noise = 0.0 if key is None else 0.0 * jax.random.normal(key, x.shape[:1])
        return (x**2).sum(1) + noise

    x = jnp.zeros((4, 3))
    slopes = jax.grad(lambda x, y: penalty(critic, x, y, jax.random.key(0)), (0, 1))(x, x)
    assert all(jnp.isfinite(slope).all() for slope in slopes)


@PENALTIES
def test_it_trains_in_one_exported_program_over_its_weight(penalty, key):
    """jit, vmap over the weight, scan and export at once; the critic starts at zero."""
    ring = toy.Ring()
    kind, settings = type(penalty), dict(vars(penalty))

    def losses(weight, key):
        model = gan(
            from_linen(MLP(features=(8,), output_shape=(2,))),
            noisy_perceptron(),
            Wasserstein(),
            generator_tx=optax.sgd(1e-2),
            critic_tx=optax.rmsprop(1e-1),
            latent=lambda key, n: jax.random.normal(key, (n, 2)),
            penalty=kind(**settings | {"weight": weight}),
        )
        state = model.init(jax.random.wrap_key_data(key), jnp.zeros((4, 2)))
        return scan_steps(model, n_critic=2, batch_size=4, length=4)(state, ring)[1]

    program = jax.jit(jax.vmap(losses, in_axes=(0, None)))
    weights, data = jnp.array([0.5, 50.0]), jax.random.key_data(key)
    metrics = jax.export.export(program)(weights, data).call(weights, data)
    assert all(jnp.isfinite(m).all() for m in metrics.values())
    assert metrics["critic/penalty"][0, -1] != metrics["critic/penalty"][1, -1]


def noisy_perceptron():
    """A critic that starts at zero and has dropout, written as plain functions."""

    def init(key, x):
        return {"in": jax.random.normal(key, (x.shape[-1], 8)), "out": jnp.zeros(8)}, {}

    def apply(params, stats, x, *, train, key=None):
        hidden = jnp.tanh(x @ params["in"])
        if train:
            hidden = 2 * hidden * jax.random.bernoulli(key, 0.5, hidden.shape).astype(jnp.float32)
        return hidden @ params["out"], stats

    return Network(init, apply)


@PENALTIES
def test_labels_are_neither_moved_nor_differentiated(penalty, key):
    seen = []

    def critic(x, key=None):
        image, label = x
        seen.append(label)
        return linear(jnp.ones(3))(image, key) * (1 + label).astype(jnp.float32)

    label = jnp.array([0, 1, 2, 3], jnp.int32)
    real, fake = (jnp.ones((4, 3)), label), (jnp.zeros((4, 3)), label[::-1])
    assert jnp.isfinite(penalty(critic, real, fake, key))
    assert all((np.asarray(x) == np.asarray(label)).all() for x in seen if x.shape == (4,))


def test_interpolation_coefficients_are_per_sample_and_uniform(key):
    n = 20_000
    real, fake = (
        (jnp.full((n, 2), 3.0), jnp.full((n, 4, 4), 3.0)),
        (
            jnp.full((n, 2), 1.0),
            jnp.full((n, 4, 4), 1.0),
        ),
    )
    vectors, images = interpolate(key, real, fake)
    t = (np.asarray(vectors[:, 0]) - 1) / 2
    assert np.ptp(vectors, axis=1).max() == 0
    np.testing.assert_array_equal(images, np.broadcast_to(vectors[:, :1, None], images.shape))
    assert len(np.unique(t)) > 0.99 * n
    uniform = (np.arange(n) + 0.5) / n
    assert np.abs(np.sort(t) - uniform).max() < 1.95 / np.sqrt(n)  # Kolmogorov-Smirnov, 0.1%


def test_gradient_norms_are_those_of_each_sample():
    x = jnp.arange(6.0).reshape(3, 2)
    norms = gradient_norm(lambda x: 0.5 * jnp.square(x).sum(1), x)
    np.testing.assert_allclose(norms, np.linalg.norm(x, axis=1), rtol=1e-6)


def test_the_keys_of_a_step_are_never_shared(key):
    """Latent, interpolation and data of all steps: no two draws from one key."""
    drawn = []

    def note(purpose):
        def record(data):
            drawn.append((purpose, data.tobytes()))

        return lambda key: jax.debug.callback(record, jax.random.key_data(jax.random.clone(key)))

    on_latent, on_data, on_penalty = note("latent"), note("data"), note("interpolation")

    def latent(key, n):
        on_latent(key)
        return jax.random.normal(key, (n, 2))

    def data(key, n):
        on_data(key)
        return jax.random.normal(key, (n, 2))

    def penalty(critic, real, fake, key):
        on_penalty(key)
        return GradientPenalty()(critic, real, fake, key)

    model = gan(
        from_linen(MLP(features=(4,), output_shape=(2,))),
        from_linen(MLP(features=(4,))),
        Wasserstein(),
        generator_tx=optax.sgd(1e-3),
        critic_tx=optax.sgd(1e-3),
        latent=latent,
        penalty=penalty,
    )
    state = model.init(key, jnp.zeros((4, 2)))
    jax.effects_barrier()
    drawn.clear()
    state, _ = scan_steps(model, n_critic=3, batch_size=4, length=2)(state, data)
    jax.block_until_ready(state)
    jax.effects_barrier()
    counts = {p: sum(q == p for q, _ in drawn) for p in ("latent", "data", "interpolation")}
    assert counts == {"latent": 8, "data": 6, "interpolation": 6}
    assert len({key for _, key in drawn}) == 20


IMAGE = {"image_size": 16, "channels": 1, "filters": 2}


def build(critic, penalty=GradientPenalty()):  # noqa: B008
    return gan(
        from_linen(DCGANGenerator(**IMAGE)),
        critic if isinstance(critic, Network) else from_linen(critic),
        Wasserstein(),
        generator_tx=optax.sgd(1e-3),
        critic_tx=optax.sgd(1e-3),
        latent=lambda key, n: jax.random.normal(key, (n, 4)),
        penalty=penalty,
    )


def test_a_penalty_on_a_critic_with_batch_norm_is_refused():
    with pytest.raises(ValueError, match="layer norm"):
        build(DCGANCritic(norm="batch", **IMAGE))
    build(DCGANCritic(norm="batch", **IMAGE), penalty=None)
    build(DCGANCritic(norm="layer", **IMAGE))
    build(DCGANCritic(norm="none", **IMAGE))


def test_batch_norm_is_known_by_what_it_does_and_not_by_its_name():
    def centered(names_its_mean):
        def init(key, x):
            return {"w": jax.random.normal(key, (256,))}, {"anything": jnp.zeros(())}

        def apply(params, stats, x, *, train, key=None):
            scores = x.reshape(x.shape[0], -1) @ params["w"]
            if names_its_mean:
                return scores - scores.mean(), {"anything": scores.mean()}
            return scores, {"anything": stats["anything"] + jnp.square(params["w"]).sum()}

        return Network(init, apply)

    with pytest.raises(ValueError, match="layer norm"):
        build(centered(True))
    build(centered(False))


def reads_the_batch(how):
    """A critic without statistics whose scores depend on the batch in its own way."""
    pooled = {
        "mean": lambda h: h - h.mean(0, keepdims=True),
        "maximum": lambda h: h - h.max(0, keepdims=True),
        "standard deviation": lambda h: h + h.std(0, keepdims=True).mean(),
        "attention": lambda h: jax.nn.softmax(h @ h.T) @ h,
        "the next sample": lambda h: h + jnp.roll(h, 1, 0),
        "none": lambda h: h,
    }[how]

    def init(key, x):  # the last layer starts at zero, so that scores at the start are equal
        return {"in": jax.random.normal(key, (256, 8)), "out": jnp.zeros(8)}, {}

    def apply(params, stats, x, *, train, key=None):
        h = jnp.tanh(x.reshape(x.shape[0], -1) @ params["in"])
        return (pooled(h) if train else h) @ params["out"], stats

    return Network(init, apply)


@pytest.mark.parametrize(
    "how", ["mean", "maximum", "standard deviation", "attention", "the next sample"]
)
def test_scores_that_depend_on_their_neighbors_are_refused(how):
    with pytest.raises(ValueError, match="depend on other samples"):
        build(reads_the_batch(how))
    build(reads_the_batch(how), penalty=None)


def test_independent_critics_of_all_kinds_are_let_through():
    build(reads_the_batch("none"))
    build(DCGANCritic(norm="layer", dropout=0.5, spectral_norm=True, **IMAGE))
    for critic in (ResNetCritic(**IMAGE), MLP(features=(8,), spectral_norm=True), GroupSort((8,))):
        build(critic)


@pytest.mark.parametrize("penalty", [GradientPenalty(), LipschitzPenalty(), DRAGAN()])
@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_samples_that_cannot_be_differentiated_are_named(penalty, dtype, key):
    x = jnp.ones((4, 2), dtype)
    with pytest.raises(ValueError, match=rf"floats; got \['{dtype}'\]"):
        penalty(lambda x: x.astype(jnp.float32).sum(1), x, x, key)


def test_the_check_works_under_jit_and_vmap():
    def loss(weight):
        model = build(DCGANCritic(norm="layer", **IMAGE), GradientPenalty(weight=weight))
        state = model.init(jax.random.key(0), jnp.zeros((2, 16, 16, 1)))
        return model.critic_step(state, jnp.ones((2, 16, 16, 1)))[1]["critic/penalty"]

    one, ten = jax.jit(jax.vmap(loss))(jnp.array([1.0, 10.0]))
    np.testing.assert_allclose(ten, 10 * one, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda: GradientPenalty(weight=-1.0), "-1.0"),
        (lambda: GradientPenalty(sides="three"), "'three'"),
        (lambda: LipschitzPenalty(weight=float("nan")), "nan"),
        (lambda: DRAGAN(noise=-0.5), "-0.5"),
        (lambda: DivergencePenalty(power=1.0), "1.0"),
        (lambda: Consistency(margin=-2.0), "-2.0"),
    ],
)
def test_bad_values_are_named(make, value):
    with pytest.raises(ValueError, match=value):
        make()


def test_consistency_needs_dropout(key):
    x = jnp.ones((4, 3))
    with pytest.raises(ValueError, match="dropout"):
        Consistency()(lambda x, key=None: x @ jnp.ones(3), x, x, key)


def test_consistency_is_the_squared_distance_of_two_dropouts(key):
    def critic(x, key=jax.random.key(7)):  # noqa: B008
        return 3.0 * x[:, 0] * jax.random.bernoulli(key, 0.5, x.shape[:1]).astype(jnp.float32)

    x = jnp.ones((50_000, 1))
    term = Consistency(weight=2.0, margin=1.0, gradient_weight=0.0)
    # half of the pairs differ, each by 3: 2 E max(0, 9 - 1) / 2
    np.testing.assert_allclose(term(critic, x, x, key), 8.0, rtol=0.02)


@pytest.mark.parametrize(("penalty", "closed_form"), TABLE)
def test_a_penalty_in_float64_has_its_precision(key, penalty, closed_form):
    with jax.enable_x64(True):
        x = jnp.ones((4, 3), jnp.float64)
        value = penalty(linear(jnp.asarray(SLOPE)), x, 0 * x, key)
        assert value.dtype == jnp.float64
        np.testing.assert_allclose(value, closed_form(1.0), rtol=1e-12)
