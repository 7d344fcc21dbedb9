"""Estimates the sizes, memory and time of a run from one iteration on dummy data."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.errors import UserError
from wgan_jax.experiment.build import build_gan, constraint_warning, require_enough
from wgan_jax.experiment.chunks import ChunkShape, chunk_steps, duration
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.distributed.placement import make_sharding
from wgan_jax.experiment.loggers.run_loggers import find_loggers
from wgan_jax.types import PyTree

_TIMED, _MAX_SECONDS = 3, 5.0  # number of timed runs, and maximum seconds for each


def describe_run(config: Config, workdir: str, devices: int | None = None) -> str:
    """Compiles and times one generator iteration; returns a summary. Writes no files.

    Raises:
      UserError: parts of the config are incompatible, there are too few examples, or a logger
        cannot be imported.
    """
    if config.sweep is not None:
        raise UserError("--dry-run is for one run: set --sweep none")
    find_loggers(config)
    sharding, data = make_sharding(config, devices), _data(config)
    struct = config.dataset.struct(config.batch_size)
    gan = build_gan(config, sharding)
    zeros = jax.tree.map(jnp.zeros_like, struct)
    state = gan.init(jax.random.key(config.seed), zeros)
    # Batches beyond the last one of a chunk repeat it, so one batch suffices.
    batches = jax.tree.map(lambda x: np.zeros((1, *x.shape), x.dtype), struct)

    def compiled(length: int) -> Any:
        steps = chunk_steps(config, gan, ChunkShape(length, config.n_critic))
        program: Any = sharding.compile(steps, state)
        return program.lower(sharding.state(state), sharding.chunk(batches, 0)).compile()

    def seconds(program: Any) -> float:
        args = sharding.state(jax.tree.map(jnp.copy, state)), sharding.chunk(batches, 0)
        jax.block_until_ready(args)
        began = time.perf_counter()
        jax.block_until_ready(program(*args))
        return time.perf_counter() - began

    began = time.perf_counter()
    program = compiled(1)
    compiling = time.perf_counter() - began
    each = min(seconds(program) for _ in range(_TIMED))
    length = min(config.chunk, config.log_every)
    if 1 < length < _MAX_SECONDS / each:  # a chunk amortizes the cost of dispatch
        chunk = compiled(length)
        each = min(seconds(chunk) for _ in range(_TIMED)) / length
    share = config.batch_size // sharding.device_count
    rows = {
        "data": data,
        "examples": ", ".join(_shape(x) for x in jax.tree.leaves(struct)),
        "generator": f"{_parameters(state.generator.params)} parameters",
        "critic": f"{_parameters(state.critic.params)} parameters",
        "batch": f"{config.batch_size:,}, {share:,} on each of {sharding.describe()}",
        "memory": f"{_memory(program)} on each device, without the data",
        "compiled in": duration(compiling),
        "an iteration": f"{duration(each)}, of {config.n_critic} critic steps",
        "time to the end": f"{duration(each * config.steps)} for {config.steps:,} iterations, "
        "without evaluations and checkpoints",
        "would write to": workdir,
    }
    if warning := constraint_warning(config):
        rows["warning"] = warning
    return "\n".join(f"{name:18} {value}" for name, value in rows.items())


def _data(config: Config) -> str:
    size, names = config.dataset.summary()
    require_enough(size, config)
    examples = "a distribution" if size is None else f"{size:,} examples"
    if names:
        shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        examples += f" of {len(names)} classes: {shown}"
    return f"{config.dataset.title}, {examples}"


def _shape(x: jax.ShapeDtypeStruct) -> str:
    return f"{' x '.join(map(str, x.shape[1:])) or 'a label'} {np.dtype(x.dtype).name}"


def _parameters(params: PyTree) -> str:
    return f"{sum(x.size for x in jax.tree.leaves(params)):,}"


def _memory(program: Any) -> str:
    stats = program.memory_analysis()
    if stats is None:
        return "an unknown amount of memory"
    size = stats.argument_size_in_bytes + stats.output_size_in_bytes + stats.temp_size_in_bytes
    return f"{(size - stats.alias_size_in_bytes) / 2**20:,.0f} MiB"
