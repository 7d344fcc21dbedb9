"""A run from its config to its last picture, and on from wherever it stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from wgan_jax.adaptive import scan_adaptive_steps
from wgan_jax.experiment import hosts
from wgan_jax.experiment.build import build_gan, open_dataset, real_struct
from wgan_jax.experiment.checkpoint import Checkpoints
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.feed import open_feed
from wgan_jax.experiment.numbers import Watch
from wgan_jax.experiment.placement import Placement, place
from wgan_jax.experiment.recorder import Bystander, Recorder
from wgan_jax.experiment.schedule import Piece, crosses, next_piece
from wgan_jax.experiment.signals import Stopped, collected
from wgan_jax.experiment.workdir import claim, locked
from wgan_jax.gan import GAN
from wgan_jax.loop import scan_steps
from wgan_jax.types import GANState, Metrics


@dataclasses.dataclass(frozen=True)
class Run:
    """What a finished or opened run consists of."""

    config: Config
    gan: GAN
    data: Any
    state: GANState


def open_run(config: Config, workdir: Path, *, say: Callable[[str], None] = print) -> Run:
    """The run in a workdir at its newest good checkpoint, or at its start."""
    data, gan = hosts.together(lambda: (open_dataset(config), build_gan(config)))
    struct = real_struct(data, config.batch_size)
    key = jax.random.key(config.seed)
    like = jax.eval_shape(gan.init, key, struct)

    def restored() -> GANState | None:
        found = Checkpoints(workdir / "checkpoints").restore(like, say)
        return None if found is None else found[1]

    state = hosts.from_first(restored, like)
    if state is None:
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), struct)
        state = gan.init(key, zeros)
    return Run(config, gan, data, state)


def train(
    config: Config,
    workdir: Path,
    *,
    devices: int | None = None,
    saved: Callable[[], None] | None = None,
    say: Callable[[str], None] = print,
) -> Run:
    """Train until `config.steps`, saving as it goes; goes on from a checkpoint if there is one.

    Args:
      config: the experiment.
      workdir: where the run is kept.
      devices: how many of this host's share the batch; all if not given.
      saved: is called on the first host after each checkpoint.
      say: is told, a line each, what goes on.

    Raises:
      UserError: bad input, or values that are not finite (nothing of them is saved).
      Stopped: SIGTERM or SIGINT came, and everything is saved.
    """
    placement = place(config, devices)
    first = hosts.is_first()
    with _kept(workdir, config), collected() as received:
        run = open_run(config, workdir, say=say)
        start = int(run.state.step)
        if first:
            say(f"{workdir}: generator iteration {start:,} of {config.steps:,}")
        recorder = Recorder(run, workdir, saved) if first else Bystander()
        session = _Session(run, placement, recorder)
        try:
            state = session.advance(received)
        finally:
            session.close()
        if int(state.step) > start:
            recorder.draw_curves()
        if received:
            raise Stopped(received[0], int(state.step))
        return dataclasses.replace(run, state=state)


@contextlib.contextmanager
def _kept(workdir: Path, config: Config) -> Iterator[None]:
    """The workdir locked and claimed by the first host, the only one that writes."""
    with contextlib.ExitStack() as held:

        def claimed() -> None:
            held.enter_context(locked(workdir))
            claim(workdir, config)

        hosts.together(lambda: claimed() if hosts.is_first() else None)
        yield


class _Session:
    """One process's share of a run: fixed order, side effects at piece boundaries only.

    All hosts ask the placement for the whole state, and in the same order; one records it.
    """

    def __init__(self, run: Run, placement: Placement, recorder: Recorder | Bystander):
        self._run, self._config, self._recorder = run, run.config, recorder
        self._placement, self._trained = placement, build_gan(run.config, placement)
        self._feed = open_feed(run.config, run.data, run.state, placement)
        self._watch = Watch(run.config.non_finite, run.state, recorder.say)

    def advance(self, received: list[int]) -> GANState:
        config, step = self._config, int(self._run.state.step)
        self._recorder.draw_data()
        state = self._placement.state(self._run.state)
        stop = hosts.largest(received[0] if received else 0)
        if stop and step < config.steps:
            raise Stopped(stop, step)
        while step < config.steps:
            before, piece = step, next_piece(config, step)
            state, step = self._take(state, piece, before), before + piece.length
            # A signal that comes from here on ends the next piece.
            stop = hosts.largest(received[0] if received else 0)
            last = step == config.steps or stop > 0
            if last or crosses(config.checkpoint_every, before, step):
                self._save(state, step)
            if step == config.steps or (not stop and crosses(config.sample_every, before, step)):
                self._recorder.draw(self._placement.whole(state), step)
            self._recorder.report(last=last)
            if stop:
                raise Stopped(stop, step)
        return self._placement.whole(state)

    def close(self) -> None:
        self._feed.close()
        self._recorder.close()

    def _take(self, state: GANState, piece: Piece, before: int) -> GANState:
        """The steps of a piece, their numbers looked at and written."""
        began = time.perf_counter()
        state, metrics = self._program(piece)(state, self._feed.take())
        metrics = jax.device_get(metrics)
        self._watch(metrics, before)
        speed = piece.length / (time.perf_counter() - began)
        found = self._evaluate(state, before, before + piece.length)

        def times() -> dict[str, float]:
            return {"time/steps_per_second": round(speed, 3)} | self._feed.times()

        self._recorder.metrics(metrics, before, found, times)
        return state

    @functools.cache  # noqa: B019  lives as long as the session, which is the process
    def _program(self, piece: Piece) -> Callable[..., tuple[GANState, Metrics]]:
        steps = steps_of(self._config, self._trained, piece)
        return self._placement.compile(steps, self._run.state)

    def _evaluate(self, state: GANState, before: int, step: int) -> dict[str, float]:
        every = self._config.evaluate_every
        if every == 0 or not crosses(every, before, step):
            return {}
        return self._recorder.evaluate(self._placement.whole(state), step)

    def _save(self, state: GANState, step: int) -> None:
        whole = self._placement.whole(state)
        hosts.together(lambda: self._recorder.save(whole, step))


def steps_of(config: Config, gan: GAN, piece: Piece) -> Callable[..., tuple[GANState, Metrics]]:
    """The steps of a piece, `(state, sampler) -> (state, metrics)`."""
    sizes = {"batch_size": config.batch_size, "length": piece.length}
    if config.adaptive is None:
        return scan_steps(gan, n_critic=piece.n_critic, **sizes)
    return scan_adaptive_steps(gan, **dataclasses.asdict(config.adaptive), **sizes)
