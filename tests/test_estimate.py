"""The W1 estimate: bounds that hold, known truths, and bad input."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from archives import arrays_of

from wgan_jax import MLP, distances
from wgan_jax.betting import betting_bound
from wgan_jax.data.funnels import Funnels
from wgan_jax.distances.exact import transport_potentials
from wgan_jax.estimate import estimate_w1
from wgan_jax.estimate.cone_ascent import starts
from wgan_jax.lipschitz import lipschitz_bound
from wgan_jax.margins import difference_margin, unseen_margin
from wgan_jax.networks import GroupSort
from wgan_jax.networks.convolution import Geometry, convolve

X = np.zeros((20, 2), np.float32)
_QUICK = {"steps": 20, "cones": 16, "transport_size": 64, "held_out": 4096}


def normal(dim, mean=0.0, std=1.0):
    return lambda key, n: mean + std * jax.random.normal(key, (n, dim))


def test_bounds_of_equal_laws_hold(key):
    for_x, for_y, rest = jax.random.split(key, 3)
    e = estimate_w1(normal(3)(for_x, 200), normal(3)(for_y, 200), key=rest, **_QUICK)
    assert e.lower == 0
    assert e.upper > 0
    assert e.value < e.transport


@pytest.mark.parametrize("dim", [2, 50])
def test_arrays_of_one_law_read_zero(dim, key):
    for each in jax.random.split(key, 3):
        for_x, for_y, rest = jax.random.split(each, 3)
        x, y = normal(dim)(for_x, 2000), normal(dim)(for_y, 2000)
        e = estimate_w1(x, y, key=rest, **_QUICK)
        assert e.value == e.lower == 0


def test_a_value_is_its_score_where_that_is_above_noise(key):
    one, two, rest = jax.random.split(key, 3)
    x, y = normal(10)(one, 2000), normal(10, 1.0)(two, 2000)
    e = estimate_w1(x, y, key=rest, **_QUICK)
    assert 0 < e.lower < e.dual
    assert e.value == pytest.approx(e.dual, rel=0.01)


def test_a_sampler_gives_tight_bounds(key):
    p, q = normal(2), normal(2, std=3.0)
    truth = distances.w1_gaussians(2, 1.0, 3.0)
    e = estimate_w1(p, q, key=key, steps=100, cones=64, held_out=65536, transport_size=256)
    assert 0.93 * truth < e.lower < truth < e.upper
    assert e.value == pytest.approx(truth, rel=0.05)
    x, y = np.asarray(p(jax.random.key(1), 4000)), np.asarray(q(jax.random.key(2), 4000))
    difference = float(e.critic(jnp.asarray(y)).mean() - e.critic(jnp.asarray(x)).mean())
    assert difference == pytest.approx(e.dual, rel=0.1)
    assert (e.n_p, e.n_q, e.lipschitz) == (65536, 65536, 1.0)


def test_images_and_order_of_the_laws(key):
    one, two, rest = jax.random.split(key, 3)
    x = jax.random.normal(one, (100, 4, 4, 1))
    y = 2.0 + jax.random.normal(two, (120, 4, 4, 1))
    e = estimate_w1(x, y, key=rest, **_QUICK)
    assert e.lower <= 8 <= e.upper
    back = estimate_w1(y, x, key=jax.random.key(9), **_QUICK)
    assert back.value == pytest.approx(e.value, rel=0.15)


def test_the_estimate_scales_with_the_units(key):
    one, two = jax.random.split(key)
    x, y = normal(2)(one, 100), normal(2, 1.0)(two, 100)
    small = estimate_w1(x, y, key=jax.random.key(3), **_QUICK)
    large = estimate_w1(1000.0 * x + 5e3, 1000.0 * y + 5e3, key=jax.random.key(3), **_QUICK)
    assert large.value == pytest.approx(1000 * small.value, rel=0.02)
    assert large.upper == pytest.approx(1000 * small.upper, rel=0.02)


def test_potentials_are_feasible_and_attain_the_distance():
    r = np.random.default_rng(0)
    x, y = r.normal(size=(80, 3)), r.normal(size=(80, 3)) + 1
    w1, phi, psi = transport_potentials(x, y)
    cost = np.linalg.norm(x[:, None] - y[None], axis=-1)
    assert (phi[:, None] + psi[None] <= cost + 1e-9).all()
    assert phi.mean() + psi.mean() == pytest.approx(w1, rel=1e-9)
    assert w1 == pytest.approx(distances.exact_w1(x, y), rel=1e-9)


def test_the_potentials_start_is_optimal_for_its_own_points():
    r = np.random.default_rng(0)
    x, y = r.normal(size=(50, 2)), r.normal(size=(50, 2)) + 1
    for start in starts(x, y, y.mean(0) - x.mean(0))[3:]:
        f = start.cones
        dual = float(f(jnp.asarray(y, jnp.float32)).mean() - f(jnp.asarray(x, jnp.float32)).mean())
        assert dual == pytest.approx(distances.exact_w1(x, y), rel=1e-4)


@pytest.mark.parametrize(("high", "low"), [(200, 200), (300, 150), (10, 12)])
def test_the_margin_covers_skewed_values(high, low):
    failed, r = 0, np.random.default_rng(0)
    for _ in range(1000):
        x, y = (r.random(low) < 0.02) * 1.0, (r.random(high) < 0.05) * 1.0
        difference, margin = difference_margin(y, x, 1.0, 0.05)
        failed += difference - margin > 0.03
    assert failed <= 50


def test_the_margin_from_above_covers_skewed_values():
    r = np.random.default_rng(0)
    for draw, mean in (
        (lambda: r.exponential(size=40), 1.0),
        (lambda: (r.random(60) < 0.1) * 1.0, 0.1),
        (lambda: np.exp(r.normal(size=60)), np.exp(0.5)),
    ):
        failed = 0
        for _ in range(500):
            z = draw()
            failed += z.mean() + unseen_margin(z, 0.05) < mean
        assert failed <= 25
    assert unseen_margin(np.ones(5), 0.05) == 0


def test_margins_do_not_depend_on_the_order_of_values():
    failed, r = np.zeros(2), np.random.default_rng(0)
    for _ in range(100):
        low, high = np.sort(r.random(100) < 0.5) * 1.0, np.sort(r.random(200) < 0.5)[::-1] * 1.0
        difference, margin = difference_margin(high, low, 1.0, 0.05)
        failed += difference - margin > 0, betting_bound(high, 0.05) > 0.5
    assert (failed <= 5).all()


def test_the_margins_are_those_of_normal_means_for_many_values():
    z = np.random.default_rng(0).random(10_000)
    normal = 1.645 * z.std() / 100
    assert 0.9 * normal < z.mean() - betting_bound(z, 0.05) < 1.15 * normal
    assert 0.9 * normal < unseen_margin(z, 0.05) < 1.15 * normal
    assert betting_bound(np.zeros(5), 0.05) == 0


@pytest.mark.parametrize("n", [20, 500])
@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (lambda r, n: r.random(n) < 0.5, 0.5),
        (lambda r, n: r.random(n) < 0.05, 0.05),
        (lambda r, n: r.beta(0.3, 3, n), 1 / 11),
        (lambda r, n: 0.7 + 0.01 * r.random(n), 0.705),
        (lambda r, n: np.where(r.random(n) < 0.01, 0, 0.5 + 0.1 * r.random(n)), 0.99 * 0.55),
    ],
    ids=["coin", "rare", "skewed", "narrow", "far below"],
)
def test_the_bound_by_betting_exceeds_the_mean_no_more_often_than_stated(draw, mean, n):
    r = np.random.default_rng(0)
    failed = sum(betting_bound(1.0 * draw(r, n), 0.1) > mean for _ in range(400))
    assert failed <= 40 + 2 * 6  # two standard errors of a count of 40


def test_the_bound_by_betting_scales_with_values_in_a_narrow_range():
    z = np.random.default_rng(0).random(100_000)
    margin = z.mean() - betting_bound(z, 0.05)
    narrow = 0.4 + 1e-4 * z
    assert narrow.mean() - betting_bound(narrow, 0.05) < 100e-4 * margin
    assert betting_bound(z, 0.01) < betting_bound(z, 0.05) < betting_bound(z, 0.2) < z.mean()


@pytest.mark.parametrize(
    ("name", "truth"),
    [("d2_w4", 0.8174), ("d2_w64", 0.2303), ("d16_w4", 1.9405), ("d16_w64", 1.5536)],
)
def test_funnels_have_the_published_truth(name, truth, official_files, key):
    stored = arrays_of(official_files / "w1_benchmark" / f"{name}.npz")
    pair = Funnels(jnp.asarray(stored["centers"]), jnp.asarray(stored["bias"]))
    assert pair.w1(key, n=200_000)[0] == pytest.approx(truth, rel=0.015)


def test_funnels_potential_attains_their_distance(key):
    pair = Funnels.draw(dim=5, count=7)
    y = pair.target(key, 20_000)
    x, moved = pair.transport(y)
    assert jnp.linalg.norm(x - y, axis=1) == pytest.approx(np.asarray(moved), abs=1e-4)

    def u(z):
        apart = jnp.linalg.norm(z[:, None] - pair.centers[None], axis=-1)
        return (apart + pair.offsets[None]).min(1)

    assert np.asarray(u(y) - u(x)) == pytest.approx(np.asarray(moved), abs=1e-4)


def test_a_critic_of_the_users_is_divided_by_its_bound(key):
    data, estimate = jax.random.split(key)
    module = GroupSort(features=(8,))
    variables = module.init(data, jnp.zeros((1, 2)))
    bound = lipschitz_bound(module, variables).value
    options = {"held_out": 8192, "transport_size": 128}
    e = estimate_w1(
        normal(2),
        normal(2, 2.0),
        key=estimate,
        critic=lambda x: 5 * module.apply(variables, x),
        lipschitz=5 * bound,
        **options,
    )
    assert 0 < e.dual <= 2 * 2**0.5 + 0.1
    assert e.lower <= 2 * 2**0.5 <= e.upper
    assert (e.steps, e.lipschitz) == (0, pytest.approx(5 * bound))


def network(dtype):
    module = MLP(features=(8,), dtype=dtype)
    variables = module.init(jax.random.key(0), X[:1])
    return lambda x: module.apply(variables, x)


def convolution(precision):
    def critic(x):
        with jax.default_matmul_precision(precision):
            pixel = convolve(
                Geometry((1, 1), (1, 1), 1, 0), x[:, None, None], jnp.ones((1, 1, 2, 1))
            )
        return pixel[:, 0, 0, 0] / 2

    return critic


def test_a_critic_of_convolutions_in_full_precision_is_accepted(key):
    sizes = {"held_out": 4096, "transport_size": 64}
    critic = convolution("highest")
    e = estimate_w1(normal(2), normal(2, 2.0), key=key, critic=critic, lipschitz=1.0, **sizes)
    assert 1.5 <= e.dual <= 2.1  # the means differ by 2


@pytest.mark.parametrize(
    ("critic", "lipschitz", "message"),
    [
        (lambda x: 100 * x[:, 0], None, r"needs lipschitz=.* show 100 at least"),
        (
            lambda x: 100 * x[:, 0],
            1.0,
            r"lipschitz=1 does not bound the critic: .* by (100|99\.9)",
        ),
        (lambda x: 100 * x[:, 0], 99.0, "lipschitz=99 does not bound"),
        (lambda x: jnp.sqrt((x**2).sum(1)) + 5 * jnp.maximum(x[:, 1] - 1, 0), 1.0, "not bound"),
        (network("bfloat16"), 10.0, "computes in bfloat16"),
        (jax.jit(lambda x: x[:, 0].astype(jnp.float16)), 1.0, "computes in float16"),
        (lambda x: jnp.matmul(x, X[0], precision="bfloat16"), 1.0, "computes in precision"),
        (convolution("bfloat16"), 1.0, "computes in precision bfloat16"),
        (lambda x: x[:, 0], 0.0, "positive and finite"),
        (None, 1.0, "lipschitz=1.0 requires a critic, and none is given"),
    ],
)
def test_what_is_claimed_of_a_critic_is_checked_before_any_work(critic, lipschitz, message, key):
    claim = {"critic": critic, "lipschitz": lipschitz}
    with pytest.raises(ValueError, match=message):
        estimate_w1(normal(2), normal(2, 1.0), key=key, held_out=2**40, **claim)


@pytest.mark.parametrize(("pitch", "shift"), [(2.0**-14, 1e-6), (2.0**-9, 1e-4)])
def test_steps_of_a_critic_are_not_taken_for_distance(pitch, shift, key):
    """It rounds to a grid, and the laws lie on either side of its steps."""

    def grid(shift):
        def sample(key, n):
            place = jnp.floor(jax.random.uniform(key, (n, 1), maxval=0.25 / pitch))
            return (place + 0.5) * pitch + shift

        return sample

    options = {"lipschitz": 1.0, "transports": 1, "transport_size": 64, "held_out": 65536}
    try:
        critic = lambda x: pitch * jnp.round(x / pitch)  # noqa: E731
        e = estimate_w1(grid(-shift), grid(shift), key=key, critic=critic, **options)
    except ValueError as error:
        assert "does not bound the critic" in str(error)  # noqa: PT017
    else:
        assert e.lower <= 2 * shift


def test_cones_fitted_to_atoms_do_not_claim_more_than_their_distance(key):
    """In 784 dimensions, atoms are moved by a hundredth of what float32 makes of their squares."""
    r = np.random.default_rng(0)
    atoms, step = r.normal(size=(2, 16, 784))
    step *= 1e-4 / np.linalg.norm(step, axis=1, keepdims=True)
    x, y = atoms.astype(np.float32), (atoms + step).astype(np.float32)

    def of(points):
        return lambda key, n: jnp.asarray(points)[jax.random.randint(key, (n,), 0, 16)]

    assert estimate_w1(of(x), of(y), key=key, **_QUICK).lower <= 1.01e-4


def test_a_critic_that_is_not_scalar_is_refused(key):
    with pytest.raises(ValueError, match=r"samples \(8, 2\) to scores .* got \(8, 3\)"):
        estimate_w1(X, X, key=key, critic=lambda x: jnp.zeros((len(x), 3)), lipschitz=1.0)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (X, np.full((20, 2), np.nan, np.float32), {}, r"q of shape \(20, 2\) has 40 values"),
        (X[:1], X, {}, r"p needs at least 8 samples \[n, ...\], got shape \(1, 2\)"),
        (X, np.zeros((20, 3), np.float32), {}, r"\(20, 2\) and \(20, 3\)"),
        (X, X, {"confidence": 1.0}, "got 1.0"),
        (X, X, {"steps": 1}, "steps must be an integer of at least 10, got 1"),
        (X, X, {"held_out": 8.5}, "held_out must be an integer of at least 8, got 8.5"),
    ],
)
def test_refusals(x, y, options, message, key):
    with pytest.raises(ValueError, match=message):
        estimate_w1(x, y, key=key, **options)


def test_import_is_light():
    code = "import sys, wgan_jax; assert not {'tqdm', 'matplotlib'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
