"""A run on many devices equals the run on one."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from wgan_jax.sharding import data_mesh, fsdp_state, shard_batches


def on_eight_devices(program, *args):
    """What a program beside this file prints as JSON, in a process that has 8 devices."""
    flags = "--xla_force_host_platform_device_count=8"
    env = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(pathlib.Path(__file__).with_name(program)), *map(str, args)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.process
def test_eight_devices_train_as_one_does():
    found = on_eight_devices("on_eight_devices.py")
    assert found["mlp"]["params"] < 1e-5
    assert found["dcgan"]["losses"] < 1e-3
    assert found["cut"]["params"] < 1e-5
    assert found["mlp"]["parts"] == 1
    assert found["cut"]["parts"] == 8
    assert found["penalty"] < 1e-5


@pytest.mark.process
def test_a_checkpoint_of_eight_devices_goes_on_on_any_number(tmp_path):
    found = on_eight_devices("elastic.py", tmp_path)
    assert found["exact"]
    assert found["apart"] < 1e-5
    assert found["parts"] == {
        f"{n}{cut}": n if cut else 1 for n in (1, 2, 4, 8) for cut in ("", " cut")
    }


def test_samples_do_not_depend_on_the_devices():
    def normal(key, n):
        return jax.random.normal(key, (n, 3))

    key = jax.random.key(0)
    two = shard_batches(normal, data_mesh())
    drawn = jax.jit(two, static_argnums=1)(key, 4)
    assert len(drawn.addressable_shards) == 2
    np.testing.assert_array_equal(drawn, normal(jax.random.clone(key), 4))


def test_bad_meshes_and_batches_are_named():
    mesh = data_mesh()
    with pytest.raises(ValueError, match="2 devices cannot share a batch of 3"):
        shard_batches(lambda key, n: jnp.zeros((n, 1)), mesh)(jax.random.key(0), 3)
    with pytest.raises(ValueError, match="axis 'data'"):
        shard_batches(lambda key, n: jnp.zeros((n, 1)), Mesh(np.array(jax.devices()), ("model",)))
    explicit = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    with pytest.raises(ValueError, match="of type Auto"):
        shard_batches(lambda key, n: jnp.zeros((n, 1)), explicit)


def test_small_arrays_stay_whole():
    placed = fsdp_state({"w": jnp.ones((300, 300)), "b": jnp.ones(8)}, data_mesh())
    assert placed["b"].sharding.is_fully_replicated
    assert not placed["w"].sharding.is_fully_replicated
