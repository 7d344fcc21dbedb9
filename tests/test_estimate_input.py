"""The input that `estimate_w1` accepts and rejects, and its `features`."""

import copy
import pickle
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from wgan_jax import estimate_w1, plot_bounds

R = np.random.default_rng(0)
X = np.round(R.normal(size=(40, 2)), 2).astype(np.float32)
Y = np.round(R.normal(size=(40, 2)) + 1, 2).astype(np.float32)
SMALL = {"steps": 10, "cones": 16, "transport_size": 20, "held_out": 4096}


def estimate(p, q, seed=0, **options):
    return estimate_w1(p, q, key=jax.random.key(seed), **(SMALL | options))


def normal(mean, dim=2):
    return lambda key, n: mean + jax.random.normal(key, (n, dim))


class Frame:
    """The part of a data frame that pandas and polars share."""

    def __init__(self, **columns):
        self._columns, self.columns = columns, list(columns)

    def __getitem__(self, name):
        return self._columns[name]

    def to_numpy(self):
        raise AssertionError("it mixes the columns' types")


class Series(types.SimpleNamespace):
    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


class Tensor:
    """The part of a torch tensor that needs care: no array while it has a gradient."""

    dtype = "torch.float32"

    def __init__(self, x):
        self._x = x

    def detach(self):
        return self

    def cpu(self):
        return self._x


@pytest.fixture(scope="module")
def plain():
    return estimate(X, Y)


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.tolist(),
        lambda x: x.astype(np.float64),
        jnp.asarray,
        scipy.sparse.csr_matrix,
        scipy.sparse.coo_array,
        np.ma.masked_invalid,
        lambda x: x.astype(object),
        lambda x: Frame(a=x[:, 0], b=x[:, 1]),
        lambda x: x.view([("a", "f4"), ("b", "f4")])[:, 0],
        lambda x: types.SimpleNamespace(
            X=scipy.sparse.csr_matrix(x), obs=None, var_names=["a", "b"]
        ),
        Tensor,
    ],
)
def test_the_same_numbers_in_other_containers_give_the_same_estimate(convert, plain):
    other = estimate(convert(X), convert(Y))
    assert other[:3] == pytest.approx(plain[:3], rel=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int64", "uint8", "bool"])
def test_numbers_of_other_types_count_as_numbers(dtype):
    x, y = (np.asarray(z, jnp.dtype(dtype)) for z in (X > 0, Y > 0))
    want = estimate((X > 0).astype(np.float32), (Y > 0).astype(np.float32))
    assert estimate(x, y)[:3] == pytest.approx(want[:3], rel=1e-6)


def test_samplers_of_whole_numbers_and_single_columns_are_taken():
    def coins(p):
        return lambda key, n: jax.random.bernoulli(key, p, (n,))

    e = estimate(coins(0.1), coins(0.6))
    assert 0.45 < e.lower <= 0.5 <= e.upper < 0.53


masked = np.ma.array(X, mask=X > 1)
ragged = [[1.0, 2.0], [1.0]] * 10
dates = np.arange(40).astype("datetime64[s]")[:, None]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X.astype(np.complex64), r"p must hold real numbers, got complex64.* two columns"),
        (masked, rf"p has {masked.mask.sum()} masked values; drop their rows"),
        (list(masked), rf"p has {masked.mask.sum()} masked values; drop their rows"),
        (ragged, "p is a list, which cannot be converted to one array"),
        ((X, X[:3]), "p is a tuple, which cannot be converted to one array"),
        (X.astype(str), "p holds .* among its values, <U.*one-hot"),
        (
            np.full((40, 2), None),
            "p holds NoneType among its values, object .*drop missing values",
        ),
        (dates, r"p holds dates or times, datetime64\[s\]"),
        (dates - dates[0], r"p holds dates or times, timedelta64\[s\]"),
        (Frame(a=(dates - dates[0])[:, 0]), "column 'a' of p holds dates or times"),
        ({"x": X}, "p is one dict; give an array of samples .* or a sampler"),
        (None, "p is one NoneType; give"),
        (3.0, "p is one float; give"),
        (iter(X), "p is one .*iterator; give"),
        (np.zeros((0, 2)), r"p needs at least 8 samples .* got shape \(0, 2\)"),
        (np.zeros((40, 0)), r"got shape \(40, 0\)"),
        (Frame(a=X[:0, 0], b=X[:0, 1]), r"p needs at least 8 samples .* got shape \(0, 2\)"),
        (np.where(X > 1, np.nan, X), "not finite; drop their rows, or fill in"),
        (np.where(X > 1, np.nan, X)[:, 0], r"p of shape \(40,\) has .* not finite; drop"),
        (lambda key, n: jnp.log(jax.random.normal(key, (n,))), r"p of shape \(4096,\) has .* not"),
        (scipy.sparse.csr_matrix((10**6, 10**6)), "too large to be made dense; project"),
        (Frame(a=X[:, 0], b=np.where(X[:, 1] > 1, np.nan, 0)), r"not finite \(in 'b'\); drop"),
        (
            Frame(a=np.array([np.inf] + [0.0] * 39)),
            r"has 1 values that are not finite \(in 'a'\); drop",
        ),
        (Frame(a=X[:, 0], b=np.array(["x"] * 40)), "column 'b' of p holds"),
        (Frame(a=Series(values=[1, 2] * 20, dtype="category"), b=X[:, 1]), "'a' of p .*one-hot"),
        (jax.random.split(jax.random.key(0), 40), "p is a .*, which cannot be converted"),
        (lambda key, n: jnp.ones((n, 2), jnp.complex64), "p must hold real numbers"),
    ],
)
def test_what_is_no_sample_is_refused_by_its_kind(x, message):
    with pytest.raises(ValueError, match=message):
        estimate(x, Y)


def test_columns_in_another_order_are_refused():
    with pytest.raises(ValueError, match="same columns in the same order, got 'a' and 'b'"):
        estimate(Frame(a=X[:, 0], b=X[:, 1]), Frame(b=Y[:, 0], a=Y[:, 1]))


def test_a_column_that_outweighs_the_rest_is_told(caplog):
    scale = np.array([1.0, 1000.0])
    e = estimate(Frame(age=X[:, 0], income=1000 * X[:, 1]), Y * scale)
    assert any("column income makes up 100.0% of the squared distance" in note for note in e.notes)
    assert "column income" in caplog.text
    assert "column income" in e._repr_html_()
    wide = estimate(lambda key, n: normal(0.0)(key, n) * scale[None], Y * scale)
    assert "column 1 makes" in wide.notes[0]
    assert estimate(X, Y).notes == ()


@pytest.mark.parametrize("value", [0.1, 0.7e-17])
def test_equal_constants_are_at_distance_zero(value):
    same = np.tile([value, 1.0], (77, 1))
    e = estimate(same, same[:39])
    assert e[:3] == (0.0, 0.0, 0.0)
    assert e.notes == ()
    assert estimate(same[:, :1], same[:, :1])[:3] == (0.0, 0.0, 0.0)


def test_columns_that_look_like_categories_are_told():
    codes = R.integers(0, 4, 40)
    e = estimate(Frame(a=X[:, 0], city=codes), np.stack([Y[:, 0], codes], 1))
    assert "column city holds few distinct integers" in e.notes[0]
    assert "one-hot" in e.notes[0]
    flags = np.stack([X[:, 0], X[:, 1] > 0], 1)
    assert not any("column" in note for note in estimate(flags, flags).notes)


def test_an_upper_bound_that_is_mostly_noise_says_so():
    e = estimate(R.normal(size=(40, 40)), R.normal(size=(40, 40)))
    assert e.upper_is_noise
    assert "(mostly noise)" in repr(e)
    assert "not informative" in e.notes[-1]
    assert "not informative" in e._repr_html_()
    far = estimate(X, Y + 10)
    assert not far.upper_is_noise
    assert "noise" not in repr(far)


def test_an_estimate_is_one_short_line(plain):
    assert repr(plain).startswith(f"W1Estimate({plain.value:.4g}, 95%: {plain.lower:.4g} to ")
    assert len(repr(plain)) < 100
    assert "\n" not in repr(plain)
    assert f"{plain.value:.4g}" in plain._repr_html_()
    assert "98.33%" in repr(plain._replace(confidence=1 - 0.05 / 3))
    for confidence in (1 - 1e-5, np.nextafter(1.0, 0.0)):  # high, but never certain
        assert " 99.999" in repr(plain._replace(confidence=confidence))
    shapes = jax.tree.map(lambda leaf: getattr(leaf, "shape", "no array"), plain)
    assert "no array" in repr(shapes)
    assert "&lt;b&gt;" in plain._replace(features="<b>")._repr_html_()
    assert [axes.get_xlabel() for axes in plain.plot().axes] == [
        axes.get_xlabel() for axes in plot_bounds(plain).axes
    ]
    assert plain.plot()._repr_png_().startswith(b"\x89PNG")  # in a notebook without pyplot


def slope(x):
    return x.sum(1) / 2


@pytest.mark.parametrize("options", [{}, {"critic": slope, "lipschitz": 1.0}])
def test_an_estimate_can_be_copied_pickled_and_its_critic_compiled(options):
    e = estimate(X, Y, **options)
    scores = np.asarray(e.critic(jnp.asarray(X)))
    for twin in (copy.deepcopy(e), pickle.loads(pickle.dumps(e))):
        assert twin[:16] == e[:16]
        np.testing.assert_array_equal(twin.critic(jnp.asarray(X)), scores)
    np.testing.assert_allclose(jax.jit(e.critic)(X), scores, atol=1e-5)
    through = jax.jit(lambda critic, x: critic(x))
    np.testing.assert_allclose(through(e.critic, X), scores, atol=1e-5)
    gradients = jax.vmap(jax.grad(lambda x: e.critic(x[None])[0]))(jnp.asarray(X))
    assert np.linalg.norm(gradients, axis=1).max() <= 1 + 1e-4


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(equation.params, is_leaf=lambda v: hasattr(v, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def products(function, x):
    found = equations(jax.make_jaxpr(function)(x).jaxpr)
    kinds = ("dot_general", "conv_general_dilated")
    return [e.params["precision"] for e in found if e.primitive.name in kinds]


def test_scores_take_no_products_of_less_than_full_precision():
    """On GPUs the default is TF32, whose rounding no margin would cover."""
    w = jnp.array([[0.6], [0.8]])
    highest = (jax.lax.Precision.HIGHEST,) * 2
    assert products(estimate(X, Y).critic, X) == []
    given = estimate(X, Y, critic=lambda x: x @ w, lipschitz=1.0).critic
    assert products(given, X) == [highest]
    many = estimate(np.tile(X, (1, 20)), np.tile(Y, (1, 20))).critic
    assert set(products(many, np.tile(X, (1, 20)))) <= {highest}

    seen = []

    def features(x):
        y = x @ w
        seen.append(jax.make_jaxpr(lambda x: x @ w)(jnp.zeros((1, 2))))
        return y

    estimate(X, Y, features=features)
    assert {e.params["precision"] for s in seen for e in equations(s.jaxpr)} == {highest}


def radius(x):
    return jnp.sqrt((x**2).sum(1))


def test_features_have_bounds_of_their_own_under_their_name():
    truth = 2 * np.sqrt(np.pi / 2)  # of Rayleigh laws, one three times the other
    p, q = normal(0.0), lambda key, n: 3 * jax.random.normal(key, (n, 2))
    e = estimate(p, q, features=radius)
    assert 0.95 * truth < e.lower <= truth <= e.upper
    assert e.features == "radius"
    assert repr(e).startswith(f"W1Estimate({e.value:.4g} of radius, 95%")
    arrays = estimate(X, Y, features=radius)
    exact = estimate(np.asarray(radius(X)), np.asarray(radius(Y)))
    assert arrays[:3] == pytest.approx(exact[:3], rel=1e-4)
    assert arrays.critic(radius(X)).shape == (40,)


def test_images_reach_their_features_as_they_are():
    images = R.integers(0, 256, (40, 3, 3, 1)).astype(np.uint8)

    class Scaled:
        name = "brightness"

        def __call__(self, x):
            assert x.dtype == jnp.uint8
            return x.astype(jnp.float32).mean((1, 2, 3)) / 255

    e = estimate(images, images // 2, features=Scaled(), diameter=1.0)
    assert (e.features, e.upper <= 1.5) == ("brightness", True)


@pytest.mark.parametrize("features", [lambda x: x.sum(), lambda x: (x, x)])
def test_features_of_another_shape_are_refused(features):
    with pytest.raises(
        ValueError, match=r"features map samples \(40, 2\) to one array \[40, \.\.\.\]"
    ):
        estimate(X, Y, features=features)


@pytest.mark.parametrize(
    ("x", "features", "message"),
    [
        (X, lambda x: np.linalg.norm(x, axis=1), r"features cannot be traced by JAX: .*\[40,2\]$"),
        (X.astype(str), lambda x: x, "p holds .* among its values, <U.*one-hot"),
    ],
)
def test_features_outside_of_jax_are_refused_in_one_line(x, features, message):
    with pytest.raises(ValueError, match=rf"\A.*{message}"):
        estimate(x, Y, features=features)


def test_a_progress_bar_raises_no_warning(capsys):
    estimate(X, Y, progress=True)
    assert "W1 at least" in capsys.readouterr().err


def test_a_seed_in_place_of_a_key_is_told_how_to_become_one():
    with pytest.raises(ValueError, match=r"expected a key, jax\.random\.key\(7\), got 7"):
        estimate_w1(X, Y, key=7)
