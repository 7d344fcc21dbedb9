"""Weights go from PyTorch to our networks and back, and forward passes agree."""

import importlib.util
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from archives import arrays_of

from wgan_jax import MLP, DCGANCritic, DCGANGenerator, ResNetCritic, ResNetGenerator, from_linen
from wgan_jax.networks import from_state_dict, to_state_dict

HERE = pathlib.Path(__file__).parent
GOLDEN = arrays_of(HERE / "golden" / "torch.npz")
DCGAN = {"image_size": 16, "filters": 8, "extra_layers": 1}
CASES = {
    "dcgan_generator": DCGANGenerator(**DCGAN),
    "dcgan_critic": DCGANCritic(**DCGAN),
    "resnet_generator_32": ResNetGenerator(filters=4),
    "resnet_critic_32": ResNetCritic(filters=4),
    "resnet_generator_64": ResNetGenerator(image_size=64, filters=1),
    "resnet_critic_64": ResNetCritic(image_size=64, filters=1),
    "mlp_generator": MLP(features=(8, 8), output_shape=(4, 4, 6)),
    "mlp_critic": MLP(features=(8, 8)),
}
OPTIONS = {"mlp_critic": {"input_shape": (4, 4, 6)}}


def state_of(case):
    prefix = f"{case}/weights/"
    return {
        name.removeprefix(prefix): GOLDEN[name].astype(np.float32)
        for name in GOLDEN
        if name.startswith(prefix)
    }


def nhwc(x):
    return np.moveaxis(x, 1, -1) if x.ndim == 4 else x


def renamed(state, rename, order=None):
    """The same layers under other names, in another order."""
    layers = dict.fromkeys(name.rpartition(".")[0] for name in state)
    return {
        f"{rename(layer)}.{leaf}": state[f"{layer}.{leaf}"]
        for layer in (order(layers) if order else layers)
        for leaf in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        if f"{layer}.{leaf}" in state
    }


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_outputs_equal_those_of_torch(case):
    network = from_linen(CASES[case])
    params, stats = from_state_dict(CASES[case], state_of(case), **OPTIONS.get(case, {}))
    x = nhwc(GOLDEN[f"{case}/x"].astype(np.float32))
    fresh = jax.eval_shape(network.init, jax.random.key(0), x)
    assert jax.tree.map(lambda v: (v.shape, v.dtype), (params, stats)) == jax.tree.map(
        lambda v: (v.shape, v.dtype), fresh
    )
    for mode in ("eval", "train"):
        ours = network.apply(params, stats, x, train=mode == "train")[0]
        theirs = nhwc(GOLDEN[f"{case}/{mode}"])
        assert np.ptp(theirs) > 0.1 or theirs.size == 1
        ours = ours[:, ::3, ::3] if ours.shape[1:] != theirs.shape[1:] else ours
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5, err_msg=mode)


@pytest.mark.parametrize("case", CASES)
def test_weights_come_back_bit_for_bit_under_their_names(case):
    state, module, options = state_of(case), CASES[case], OPTIONS.get(case, {})
    params, stats = from_state_dict(module, state, **options)
    expected = {k: v * 0 if k.endswith("tracked") else v for k, v in state.items()}
    assert_same(to_state_dict(module, params, stats, like=state, **options), expected)

    usual = to_state_dict(module, params, stats, **options)
    again = from_state_dict(module, dict(sorted(usual.items())), **options)
    jax.tree.map(np.testing.assert_array_equal, again, (params, stats))


def test_the_usual_names_are_those_of_the_dcgan_example_of_pytorch():
    module = DCGANCritic(image_size=32, channels=1, filters=2)
    variables = module.init(jax.random.key(0), jnp.ones((1, 32, 32, 1)))
    state = to_state_dict(module, variables["params"], variables)
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = ["main.0.weight", "main.2.weight", *(f"main.3.{leaf}" for leaf in norm)]
    names += ["main.5.weight", *(f"main.6.{leaf}" for leaf in norm), "main.8.weight"]
    assert list(state) == names
    assert state["main.8.weight"].shape == (1, 8, 4, 4)
    assert all(array.flags.writeable and array.flags.c_contiguous for array in state.values())


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_an_mlp_with_norms_is_a_sequential_of_linear_norm_relu(norm, key):
    module = MLP(features=(4, 3), norm=norm)
    at_init, at_data = jax.random.split(key)
    network, x = from_linen(module), jax.random.normal(at_data, (16, 2))
    params, stats = network.init(at_init, x)
    params = jax.tree.map(lambda w: w + 0.1, params)
    _, stats = network.apply(params, stats, x, train=True)
    state = to_state_dict(module, params, stats)
    assert list(dict.fromkeys(name.rpartition(".")[0] for name in state)) == [
        f"main.{i}" for i in (0, 1, 3, 4, 6)
    ]
    y = np.asarray(x)
    for i in (0, 3):
        y = y @ state[f"main.{i}.weight"].T + state[f"main.{i}.bias"]
        if norm == "batch":
            mean, var = (state[f"main.{i + 1}.running_{name}"] for name in ("mean", "var"))
        else:
            mean, var = y.mean(1, keepdims=True), y.var(1, keepdims=True)
        y = (y - mean) / np.sqrt(var + 1e-5)
        y = np.maximum(y * state[f"main.{i + 1}.weight"] + state[f"main.{i + 1}.bias"], 0)
    y = y @ state["main.6.weight"].T + state["main.6.bias"]
    found = network.apply(params, stats, x, train=False)[0]
    np.testing.assert_allclose(found, y[:, 0], rtol=1e-5, atol=1e-5)
    again = from_state_dict(module, dict(sorted(state.items())))
    jax.tree.map(np.testing.assert_array_equal, again, (params, stats))


def test_layouts_of_other_authors_are_read():
    expected = from_state_dict(CASES["resnet_generator_32"], state_of("resnet_generator_32"))

    def shortcut_first(layers):
        return sorted(
            layers,
            key=lambda name: (
                (name.startswith(("norm", "conv")), name.rpartition(".")[0], "short" not in name)
                if name != "linear"
                else (False, "", False)
            ),
        )

    def rename(name):
        return "module." + name.replace("blocks.", "rb").replace("conv", "conv_") + ".inner"

    other = renamed(state_of("resnet_generator_32"), rename, shortcut_first)
    assert list(other)[2] == "module.rb0.shortcut.inner.weight"
    found = from_state_dict(CASES["resnet_generator_32"], other)
    jax.tree.map(np.testing.assert_array_equal, found, expected)

    # A DCGAN that begins and ends with linear layers, as some do.
    state = state_of("dcgan_generator")
    first = next(iter(state))
    weight = state[first]
    state[first] = weight.reshape(len(weight), -1).T
    found = from_state_dict(CASES["dcgan_generator"], state)
    expected = from_state_dict(CASES["dcgan_generator"], state_of("dcgan_generator"))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_the_order_that_a_sorted_file_loses_is_asked_for_and_not_guessed():
    module, state = CASES["resnet_generator_32"], state_of("resnet_generator_32")
    # The last norm would come before those of the blocks.
    state = renamed(state, lambda name: "bn" if name == "norm" else name)
    sorted_state = dict(sorted(state.items()))
    with pytest.raises(ValueError, match=r"of .*bn.* is lost; pass order="):
        from_state_dict(module, sorted_state)
    order = list(dict.fromkeys(name.rpartition(".")[0] for name in state))
    found = from_state_dict(module, sorted_state, order=order)
    jax.tree.map(np.testing.assert_array_equal, found, from_state_dict(module, state))
    with pytest.raises(ValueError, match="each once"):
        from_state_dict(module, sorted_state, order=order[1:])


def test_numbers_in_sorted_names_are_read_as_numbers():
    rng = np.random.default_rng(0)
    module = MLP(features=(3,) * 12)
    widths = [3] * 13 + [1]
    state = {}
    for i in range(13):
        state[f"main.{2 * i}.weight"] = rng.normal(size=(widths[i + 1], 3)).astype(np.float32)
        state[f"main.{2 * i}.bias"] = rng.normal(size=widths[i + 1]).astype(np.float32)
    sorted_state = dict(sorted(state.items()))
    assert list(sorted_state) != list(state)
    found = from_state_dict(module, sorted_state)
    jax.tree.map(np.testing.assert_array_equal, found, from_state_dict(module, state))
    np.testing.assert_array_equal(found[0]["Dense_1"]["kernel"].T, state["main.2.weight"])


def test_weights_survive_a_safetensors_file(tmp_path):
    numpy_files = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    module, state = CASES["dcgan_critic"], state_of("dcgan_critic")
    expected = from_state_dict(module, state)
    state = {name: np.ascontiguousarray(array) for name, array in state.items()}
    numpy_files.save_file(state, tmp_path / "critic.safetensors")
    found = from_state_dict(module, numpy_files.load_file(tmp_path / "critic.safetensors"))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def without(state, *names):
    return {name: array for name, array in state.items() if name not in names}


def edited(case, **changes):
    return state_of(case) | {k.replace("__", "."): v for k, v in changes.items()}


CRITIC, IMAGES = state_of("dcgan_critic"), CASES["dcgan_critic"]
LAST = list(CRITIC)[-1]
REFUSED = {
    "a layer is missing": (
        lambda: from_state_dict(IMAGES, without(CRITIC, LAST)),
        r"Dense_0 needs a Dense layer with a weight of shape \(1, 16, 4, 4\).* all are used",
    ),
    "a layer is left over": (
        lambda: from_state_dict(IMAGES, CRITIC | {"more.weight": np.ones((3, 3), np.float32)}),
        r"left over: \['more'\]",
    ),
    "another width": (
        lambda: from_state_dict(IMAGES.copy(filters=4), CRITIC),
        r"Conv_0 needs a Conv layer with a weight of shape \(4, 3, 4, 4\)",
    ),
    "a bias that we have not": (
        lambda: from_state_dict(IMAGES, CRITIC | {"0.bias": np.ones(8, np.float32)}),
        "without a bias",
    ),
    "spectral norm in torch": (
        lambda: from_state_dict(IMAGES, {"0.weight_orig": np.ones((8, 3, 4, 4), np.float32)}),
        "weight_orig.*not a plain weight",
    ),
    "spectral norm in ours": (
        lambda: from_state_dict(IMAGES.copy(spectral_norm=True), CRITIC),
        "spectral_norm=True",
    ),
    "labels": (lambda: to_state_dict(IMAGES.copy(num_classes=3), {}), "num_classes=3"),
    "another network": (lambda: from_state_dict(jnp, {}), "no layout in PyTorch"),
    "statistics are missing": (
        lambda: to_state_dict(IMAGES, from_state_dict(IMAGES, CRITIC)[0]),
        "running statistics of BatchNorm_0 are missing",
    ),
    "an input shape of a DCGAN": (
        lambda: from_state_dict(IMAGES, CRITIC, input_shape=(16, 16, 3)),
        "for an MLP only",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case):
    call, told = REFUSED[case]
    with pytest.raises(ValueError, match=told):
        call()


def test_a_missing_bias_is_zero_and_one_that_is_not_zero_is_not_dropped():
    module = MLP(features=(3,))
    state = {"0.weight": np.ones((3, 2), np.float32), "1.weight": np.ones((1, 3), np.float32)}
    params, _ = from_state_dict(module, state)
    np.testing.assert_array_equal(params["Dense_0"]["bias"], np.zeros(3))
    assert_same(to_state_dict(module, params, like=state), state)
    params["Dense_1"]["bias"] += 1
    with pytest.raises(ValueError, match="1 has no bias"):
        to_state_dict(module, params, like=state)


@pytest.mark.parametrize("case", CASES)
def test_torch_computes_the_same_with_our_weights(case):
    torch = pytest.importorskip("torch", reason="golden files stand for PyTorch where it is absent")
    path = HERE / "golden" / "make_torch_golden.py"
    spec = importlib.util.spec_from_file_location("make_torch_golden", path)
    golden = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(golden)
    theirs, shape = golden.networks()[case]
    module, options = CASES[case], OPTIONS.get(case, {})
    network = from_linen(module)
    x = jax.random.normal(jax.random.key(1), shape)
    ours = nhwc(np.asarray(x))
    params, stats = network.init(jax.random.key(0), ours)
    state = to_state_dict(module, params, stats, like=theirs.state_dict(), **options)
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    for train in (False, True):
        with torch.no_grad():
            y = theirs.train(train)(torch.from_numpy(np.array(x))).numpy()
        expected = network.apply(params, stats, ours, train=train)[0]
        np.testing.assert_allclose(nhwc(y), expected, rtol=1e-5, atol=1e-5)
