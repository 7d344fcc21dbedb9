"""Every example runs, and its output is correct."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wgan_jax.testing import check_network

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_critic_in_plain_jax_is_trained(capsys):
    first, last = example("plain_network").main()
    assert f"from {first:.3f} to {last:.3f}" in capsys.readouterr().out
    assert 0 < last < first


def test_a_generator_in_nnx_is_trained():
    samples = example("nnx_network").main()
    assert samples.shape == (1_000, 2)
    assert np.isfinite(samples).all()


def test_a_critic_in_equinox_is_trained():
    pytest.importorskip("equinox", reason="equinox comes with the extra 'examples'")
    assert 0 < example("equinox_network").main() <= np.float32(0.1)


@pytest.mark.slow
def test_networks_of_other_libraries_keep_the_contract():
    x = jax.random.normal(jax.random.key(0), (4, 2))
    nnx = example("nnx_network")
    check_network(nnx.from_nnx(lambda rngs: nnx.Generator(8, rngs=rngs)), x, skip=("jit",))
    eqx = pytest.importorskip("equinox", reason="equinox comes with the extra 'examples'")
    critic = example("equinox_network").from_equinox(
        lambda key: eqx.nn.MLP(2, "scalar", width_size=8, depth=1, key=key)
    )
    check_network(critic, x, scores=True)


def test_somebody_elses_loop_trains_it():
    before, after = example("own_loop").main()
    assert after < 0.4 * before


def test_steps_of_ones_own_keep_the_contract(monkeypatch):
    slow = ("jit", "vmap", "chunks", "donation", "export", "purity")
    example("own_steps").main(skip=slow)
    broken = example("own_steps")

    def one_key_for_both(state, player, n):
        key = jax.random.fold_in(state.key, getattr(state.step, player))
        return jax.random.normal(key, (n, 2))

    monkeypatch.setattr(broken, "noise", one_key_for_both)
    with pytest.raises(AssertionError, match=r"check_gan, keys .*repeat a key"):
        broken.main(skip=slow)


def test_modules_of_nnx_are_trained_in_a_loop_of_nnx():
    module = example("nnx_own_loop")
    module.ITERATIONS = 60
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam does not pass "strict"
        before, after = module.main()
    assert after < 0.8 * before


def test_a_simulator_finds_its_parameters():
    module = example("simulator")
    found = module.main()
    for name, truth in module.TRUTH.items():
        assert abs(found[name] - truth) < 0.05 * truth, name


def test_conditional_samples_follow_their_labels():
    assert example("conditional").main() > 0.9


LOAD = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("wgan_jax", "flax", "optax"):
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, Blocked())
import jax, numpy as np

exported = jax.export.deserialize(open(sys.argv[1], "rb").read())
np.save(sys.argv[2], exported.call(jax.numpy.uint32(7)))
assert "wgan_jax" not in sys.modules
"""


def test_an_exported_generator_runs_without_this_package(tmp_path):
    file, out = tmp_path / "generator.bin", tmp_path / "samples.npy"
    expected = example("export_generator").main(file)
    subprocess.run([sys.executable, "-c", LOAD, str(file), str(out)], check=True, timeout=300)
    np.testing.assert_allclose(np.load(out), expected, rtol=1e-5, atol=1e-6)


def test_weights_survive_safetensors(tmp_path):
    pytest.importorskip("safetensors", reason="safetensors comes with the extra 'examples'")
    names, same = example("save_safetensors").main(str(tmp_path / "g.safetensors"))
    assert same
    assert any(name.startswith("params/") for name in names)
    assert any(name.startswith("stats/") for name in names)


def test_a_network_without_statistics_survives_safetensors(tmp_path):
    pytest.importorskip("safetensors", reason="safetensors comes with the extra 'examples'")
    file, player = str(tmp_path / "mlp.safetensors"), ({"w": jnp.ones(2)}, {})
    example("save_safetensors").save(file, player)
    chex.assert_trees_all_equal(example("save_safetensors").load(file), player)


def test_weights_of_torch_are_trained_on_and_written_back(tmp_path, capsys):
    files = pytest.importorskip("safetensors.numpy", reason="safetensors comes with the package")
    path = tmp_path / "dcgan.safetensors"
    module = example("torch_weights")
    variables = module.GENERATOR.init(jax.random.key(5), np.ones((1, 100), np.float32))
    state = module.to_state_dict(module.GENERATOR, variables["params"], variables)
    files.save_file(state, path)
    moved = module.main(path)
    assert 0 < moved < 1
    assert {k: v.shape for k, v in files.load_file(path).items()} == {
        k: v.shape for k, v in state.items()
    }
    assert f"{len(state)} arrays" in capsys.readouterr().out


def test_no_example_is_left_out():
    tested = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f'example("{path.stem}")' in tested, path.name
