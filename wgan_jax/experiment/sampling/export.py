"""Export of generators for use without this package: `jax.export` programs or weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

import wgan_jax
from wgan_jax.data.pixels import cut_to_middle
from wgan_jax.errors import UserError
from wgan_jax.experiment.config_io import to_dict
from wgan_jax.experiment.evaluation.samples import weights_of
from wgan_jax.experiment.evaluation.weights import write_arrays
from wgan_jax.experiment.sampling.sampler import GeneratorSampler
from wgan_jax.experiment.schema import Schema
from wgan_jax.experiment.workdir import write_json
from wgan_jax.files import atomic_write
from wgan_jax.latents import Uniform
from wgan_jax.types import Array, PyTree, from_linen

FORMS = (".jax", ".safetensors")
PLATFORMS = ("cpu", "cuda", "tpu")
_RANGE = "pixels in [-1, 1]"


def beside(path: Path) -> Path:
    """Returns the path of the JSON description of a program."""
    return path.with_suffix(".json")


def export_generator(sampler: GeneratorSampler, path: Path) -> None:
    """Writes the generator to `path`; for a program, also a .json that describes it.

    Args:
      sampler: sampler of the run or member, with the weights to export.
      path: .jax for a program for CPU, CUDA and TPU; .safetensors for the weights.

    Raises:
      UserError: a file cannot be written, or float32 cannot represent the units.
    """
    about = describe(sampler)
    if path.suffix == ".safetensors":
        params, stats, _ = sampler.state.generator
        named = flatten_dict({"params": params, "stats": stats}, sep="/")
        arrays = {name: np.asarray(value) for name, value in named.items()}
        network = to_dict(sampler.config.generator)
        write_arrays(path, arrays, {"generator": json.dumps(network), "about": json.dumps(about)})
        return
    try:
        data = export_program(sampler).serialize()
    except ImportError as error:
        raise UserError(
            f"writing a program needs flatbuffers; run: pip install flatbuffers ({error})"
        ) from error
    with atomic_write(path) as file:
        file.write(data)
    write_json(beside(path), about)


def export_program(sampler: GeneratorSampler) -> jax.export.Exported:
    """Exports the generator as a function of noise [n, dim], label [n] and condition [n, k]."""
    (n,) = jax.export.symbolic_shape("n")
    program = jax.jit(_program(sampler))
    return jax.export.export(program, platforms=PLATFORMS)(*_structs(_inputs(sampler), n))


def describe(sampler: GeneratorSampler) -> dict[str, Any]:
    """Returns a description of an exported generator's inputs and output, as JSON values.

    Raises:
      UserError: float32 cannot represent the units.
    """
    _require_float32(sampler.schema)
    inputs, units = _inputs(sampler), sampler.schema.units
    out = jax.eval_shape(_program(sampler), *_structs(inputs, 1))
    output = {"name": "samples", "shape": ["n", *out.shape[1:]], "dtype": out.dtype.name}
    if units is not None:
        output |= {"units": "those of the data", "columns": units.fields()}
    elif len(out.shape) == 4:
        output |= {"units": _RANGE}
    return {
        "wgan_jax": wgan_jax.__version__,
        "jax": jax.__version__,
        "platforms": list(PLATFORMS),
        "step": int(sampler.state.step),
        "weights": "raw" if sampler.spec.weights == "raw" else weights_of(sampler.state),
        "inputs": inputs,
        "output": output,
    }


def _inputs(sampler: GeneratorSampler) -> list[dict[str, Any]]:
    """Describes the inputs of an exported generator, in order."""
    config, schema = sampler.config, sampler.schema
    noise = "uniform from -1 to 1" if isinstance(config.latent, Uniform) else "standard normal"
    inputs: list[dict[str, Any]] = [
        {"name": "noise", "shape": ["n", config.latent.dim], "dtype": "float32", "draw": noise}
    ]
    if classes := config.num_classes:
        label = {"name": "label", "shape": ["n"], "dtype": "int32", "classes": classes}
        names = {"class_names": list(schema.class_names)} if schema.class_names else {}
        counts = {"class_counts": list(config.class_counts)} if config.class_counts else {}
        inputs.append(label | names | counts)
    if width := config.condition_dim:
        condition = {"name": "condition", "shape": ["n", width], "dtype": "float32"}
        columns = [] if schema.conditions is None else schema.conditions.fields()
        inputs.append(condition | {"columns": columns})
    return inputs


def _structs(inputs: list[dict[str, Any]], n: Any) -> list[jax.ShapeDtypeStruct]:
    """Returns shapes and dtypes of the inputs for batch size `n`, which may be symbolic."""
    return [jax.ShapeDtypeStruct((n, *each["shape"][1:]), each["dtype"]) for each in inputs]


def _program(sampler: GeneratorSampler) -> Callable[..., Array]:
    """Returns the function from noise and conditions, in units, to samples in units."""
    config, schema = sampler.config, sampler.schema
    network, native = from_linen(config.generator), config.dataset.native_size
    params, stats, _ = sampler.state.generator

    def generate(noise: Array, *condition: Array) -> Array:
        given: list[Array] = list(condition)
        if schema.conditions is not None:
            given[-1] = schema.conditions.encode_traced(given[-1])
        z: PyTree = (noise, tuple(given) if len(given) > 1 else given[0]) if given else noise
        x: Any = jax.tree.leaves(network.apply(params, stats, z, train=False)[0])[0]
        x = x.astype(jnp.float32)
        if native and x.ndim == 4:
            x = cut_to_middle(x, native)
        return x if schema.units is None else schema.units.decode_traced(x)

    return generate


def _require_float32(schema: Schema) -> None:
    """Rejects units with values that overflow float32."""
    for units in (schema.units, schema.conditions):
        numbers = [] if units is None else jax.tree.leaves(units.to_json())
        floats = np.array([x for x in numbers if isinstance(x, float)])
        if not np.isfinite(floats.astype(np.float32)).all():
            raise UserError(
                "the data have values beyond float32, in which an exported generator computes: "
                "train on data in another unit"
            )
