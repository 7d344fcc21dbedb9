"""Checkpoints of any tree of arrays, of former formats, and read while another process writes."""

import collections
import gc
import hashlib
import json
import os
import tempfile
import threading
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from wgan_jax.errors import UserError
from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints

pytestmark = pytest.mark.filterwarnings("ignore")

Pair = collections.namedtuple("Pair", "first second")
NAMES = st.text(max_size=5) | st.sampled_from(
    ["", "a/b", "a.b", "..", "/", " ", "é\n", "0", "x" * 300]
)
DTYPES = ["float32", "bfloat16", "float16", "int8", "uint8", "int32", "uint32", "bool", "complex64"]
ARRAYS = st.builds(
    lambda shape, dtype: jnp.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape), dtype),
    st.sampled_from([(), (1,), (3,), (0,), (2, 0), (2, 3)]),
    st.sampled_from(DTYPES),
)
LEAVES = (
    ARRAYS
    | st.integers(-(2**31), 2**31 - 1)
    | st.floats(-1e30, 1e30)
    | st.booleans()
    | st.builds(lambda seed: jax.random.split(jax.random.key(seed), 2), st.integers(0, 9))
)


def containers(inner):
    return (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(NAMES, inner, max_size=3)
        | st.dictionaries(st.integers(0, 20), inner, max_size=3)
        | st.builds(Pair, inner, inner)
        | st.just(None)
    )


TREES = containers(st.recursive(LEAVES, containers, max_leaves=8))


def data(leaf):
    is_key = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else jnp.asarray(leaf))


def assert_same(tree, other):
    assert jax.tree.structure(tree) == jax.tree.structure(other)
    for a, b in zip(*map(jax.tree.leaves, (tree, other)), strict=True):
        assert data(a).dtype == data(b).dtype
        np.testing.assert_array_equal(data(a), data(b))


@given(TREES)
@settings(max_examples=25)
def test_any_tree_of_arrays_comes_back(tree):
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder) / "checkpoints")
        checkpoints.save(3, tree)
        step, found = checkpoints.restore(jax.eval_shape(lambda: tree))
    assert step == 3
    assert_same(found, tree)


def test_a_system_without_posix_fallocate_saves_checkpoints(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)  # as on macOS
    state = {"a": jnp.ones(2)}
    Checkpoints(tmp_path / "c").save(1, state)
    assert_same(Checkpoints(tmp_path / "c").restore(state)[1], state)


def linen_state():
    layer = nn.SpectralNorm(nn.Dense(3))  # it names its variables kernel/u and kernel/sigma
    return layer.init(jax.random.key(0), jnp.ones((2, 4)), update_stats=False)


def nnx_state():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.layers = nnx.List([nnx.Linear(2, 3, rngs=rngs), nnx.BatchNorm(3, rngs=rngs)])
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

    return nnx.state(Model(nnx.Rngs(0)))


@pytest.mark.parametrize("make", [linen_state, nnx_state])
def test_states_of_flax_come_back(make, tmp_path):
    state = make()
    Checkpoints(tmp_path / "c").save(1, state)
    assert_same(Checkpoints(tmp_path / "c").restore(jax.eval_shape(lambda: state))[1], state)


def test_trees_with_the_same_leaves_are_told_apart(tmp_path):
    Checkpoints(tmp_path / "c").save(1, {"a/b": jnp.ones(2)})
    with pytest.raises(UserError, match="another tree"):
        Checkpoints(tmp_path / "c").restore({"a": {"b": jnp.ones(2)}})


def in_the_former_layout(folder, state):
    """Writes a checkpoint as format 2 had it: arrays by the names of their leaves."""
    arrays = jax.tree.map(data, state)

    def entry(path, x, leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return {
            "path": jax.tree_util.keystr(path, simple=True, separator="/"),
            "shape": list(x.shape),
            "dtype": str(x.dtype),
            "key": str(jax.random.key_impl(leaf)) if is_key else None,
            "sha256": hashlib.sha256(x.tobytes()).hexdigest(),
        }

    with_paths = jax.tree_util.tree_leaves_with_path(arrays)
    leaves = [entry(*p, x) for p, x in zip(with_paths, jax.tree.leaves(state), strict=True)]
    plain = ocp.PyTreeCheckpointHandler(use_ocdbt=False, use_zarr3=False, use_compression=False)
    handler = ocp.CompositeCheckpointHandler(state=plain, manifest=ocp.JsonCheckpointHandler())
    with ocp.Checkpointer(handler) as checkpointer:
        items = {"state": ocp.args.PyTreeSave(arrays)}
        items["manifest"] = ocp.args.JsonSave({"format": 2, "leaves": leaves})
        checkpointer.save(folder, args=ocp.args.Composite(**items))
    files = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    sums = {
        name: [path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()]
        for name, path in files.items()
    }
    (folder / "seal.json").write_text(json.dumps({"files": sums}))


def test_checkpoints_of_the_former_format_come_back(tmp_path):
    """Also those with "/" in names, which the version that wrote them could not read."""
    state = {"b": (jnp.arange(3), {"kernel": jnp.ones((2, 3), jnp.bfloat16)})}
    state |= {"key": jax.random.key(3), "norm": {"Dense_0/kernel/u": jnp.ones((1, 4))}}
    in_the_former_layout(tmp_path / "c" / "7", state)
    step, found = Checkpoints(tmp_path / "c").restore(jax.eval_shape(lambda: state))
    assert step == 7
    assert_same(found, state)


def test_a_checkpoint_of_a_newer_version_names_it(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(1, {"a": jnp.ones(2)})
    path = tmp_path / "c/1/manifest/metadata"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"format": 99, "wgan_jax": "7.8.9"}))
    with pytest.raises(UserError, match=r"7\.8\.9") as error:
        checkpoints.restore({"a": jnp.ones(2)})
    assert "move the folder away" not in str(error.value)


def test_a_checkpoint_of_another_run_is_not_told_to_be_moved_away(tmp_path):
    Checkpoints(tmp_path / "c").save(1, {"a": jnp.ones(2)})
    with pytest.raises(UserError, match="other arrays than this run") as error:
        Checkpoints(tmp_path / "c").restore({"a": jnp.ones(3)})
    assert "move the folder away" not in str(error.value)


@pytest.mark.parametrize("x64", [False, True])
def test_a_checkpoint_from_64_bit_jax_tells_that_draws_differ_in_32_bits(tmp_path, x64):
    state, said = {"a": jnp.ones(2, jnp.float32)}, []
    with jax.enable_x64(x64):
        Checkpoints(tmp_path / "c").save(1, state)
        assert_same(Checkpoints(tmp_path / "c").restore(state, said.append)[1], state)
    assert said == []
    with jax.enable_x64(not x64):
        assert_same(Checkpoints(tmp_path / "c").restore(state, said.append)[1], state)
    assert len(said) == 1
    assert f"set JAX_ENABLE_X64={x64:d}" in said[0]


def test_a_reader_beside_a_run_that_keeps_one_checkpoint_always_finds_one(tmp_path):
    state, said = {"a": jnp.arange(64.0)}, []
    Checkpoints(tmp_path / "c", keep=1).save(1, state)
    done = threading.Event()

    def write():
        for step in range(2, 10_000):
            Checkpoints(tmp_path / "c", keep=1).save(step, state)
            if done.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(30):
            assert_same(Checkpoints(tmp_path / "c").restore(state, said.append)[1], state)
    finally:
        done.set()
        writer.join()
    assert said == []


def test_saving_again_and_again_leaves_nothing_in_memory(tmp_path):
    checkpoints, state = Checkpoints(tmp_path), {"w": jnp.ones(3), "key": jax.random.key(0)}

    def objects_after(first, last):
        for step in range(first, last):
            checkpoints.save(step, state)
        gc.collect()
        return sum(str(type(x).__module__).startswith("jax") for x in gc.get_objects())

    before = objects_after(0, 10)  # traces come with the first
    assert objects_after(10, 40) <= before + 5
