"""Fits the critic behind the lower bound: cones on a part of the samples."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.distances.exact import pairwise_distances
from wgan_jax.estimate import cone_ascent
from wgan_jax.estimate.cone_ascent import Ascent, ConeParams, Rows, Schedule, Start
from wgan_jax.estimate.judge import FIT, SEEN, Fit, Judge, Progress
from wgan_jax.estimate.pair import BLOCK, Pair, draw, scores
from wgan_jax.estimate.quantised import Quantised
from wgan_jax.types import Array

CHUNKS = 10
_FEW_CONES = (128, 512)
_RETAINED, _MIN_RETAINED = 0.71, 4  # fraction of cones retained per pruning round, and minimum
_PRUNING_LOSS, _NO_LOSS = 0.05, 0.005  # of the best score: ends pruning, counts as none
_DOUBT = ((SEEN - FIT) / (1 - SEEN)) ** 0.5  # margin on held-out rows over that on validation rows
# For close samplers, a margin on validation draws is up to 4 times that on held-out ones.
_DOUBT_IF_CLOSE, _VALIDATED = 0.5, 1 << 18
_PATIENCE = 2  # chunks without gain on validation rows
_MIN_CONES = 16  # cones retained at least, so that few programs are compiled
_CLOSE = 8  # standard errors of a score on one batch, in units of the samples' standard deviation


def fit_cones(
    pair: Pair,
    steps: int,
    cones: int,
    batch_size: int,
    alpha: float,
    progress: bool | None,
    quantised: Quantised | None,
    held_out: int,
) -> Fit:
    """Try every start for a tenth of the steps, then continue the best one to the end.

    Many cones memorize the rows of an array, so for arrays it begins with few cones and takes
    more only while validation samples improve. An ascent stops early after two tenths without
    gain on them. Then the cones that are worth least are pruned, and if a quarter of them does
    not score as well as all, the next larger number is tried.

    If quantized distributions are so close that a batch hardly distinguishes them from noise, it
    starts from their potentials, which come from millions of draws, and takes three tenths of
    the steps.
    """
    p, q = pair.part(0, FIT)
    at_start, at_pilot, at_ascent, at_validation, at_pruning = pair.keys(0, 5)
    rows = [len(side.x) for side in (p, q) if isinstance(side, Rows)]
    largest = min([cones, *rows])
    counts = [*(few for few in _FEW_CONES if 2 * few <= largest), largest] if rows else [largest]
    length = -(-steps // CHUNKS)
    first, second, third, fourth = jax.random.split(at_start, 4)
    mean_draws = 65536 if quantised is None else largest  # draws for the difference of the means
    x, y = _rows(p, first, mean_draws), _rows(q, second, mean_draws)
    step = y.mean(0) - x.mean(0) if quantised is None else quantised.step
    seen = draw(p, fourth, 2048), draw(q, third, 2048)
    is_close = quantised is not None and quantised.moved < _CLOSE * (2 / batch_size) ** 0.5
    validation = 2 * BLOCK
    if is_close:
        validation = max(held_out, min(4 * held_out, _VALIDATED))
    doubt = _DOUBT_IF_CLOSE if is_close else _DOUBT if rows else 0.0
    judge = Judge.of(pair, seen, at_validation, alpha, validation, doubt)
    chunks = 3 if is_close else CHUNKS
    if quantised is not None and is_close:
        linear = cone_ascent.starts(x[:largest], y[:largest], step)[2].cones
        for critic in [*quantised.critics(largest), linear]:
            judge(critic)
        now = Progress(0, *judge(judge.best))
        if now.lower <= 0:  # only noise
            return Fit(judge.best, 0, True, [now], _rounding(judge.best, judge.seen))
    pilots, ascents = (_keys(key, len(counts)) for key in (at_pilot, at_ascent))
    with _bar(progress, chunks * length * len(counts), float(pair.scale)) as bar:
        for i, k in enumerate(counts):
            before = judge.best
            batch = min(batch_size, 4 * k) if rows else batch_size
            ascend = partial(cone_ascent.ascend, p=p, q=q, length=length, batch_size=batch)
            if is_close:
                start = Start(judge.best, 0.3)
                plan = _schedule(start, judge, length)
            else:
                starts = cone_ascent.starts(x[:k], y[:k], step)
                start, plan = _select_start(starts, ascend, length, judge, pilots[i])
            plan = plan._replace(steps=jnp.float32(chunks * length))
            result = _optimize(start, plan, ascend, judge, ascents[i], bar, chunks, bool(rows))
            if i > 0 and judge.best is before:
                break
            history, converged = result
            if not rows or judge.highest <= 0:  # samplers, or only noise
                break
            key = jax.random.fold_in(at_pruning, k)
            pruning, enough = _prune(x, y, ascend, judge, key, length, history[-1].step, bar)
            history += pruning
            if enough <= k // 4:
                break
    critic = _active_cones(judge.best, judge.points)
    return Fit(critic, history[-1].step, converged, history, _rounding(critic, judge.seen))


def _active_cones(cones: ConeParams, points: np.ndarray) -> ConeParams:
    """The cones that are lowest at any of the points [n, d], filled up to a power of two.

    The others would cost as much at each of millions of held-out draws. Of 1,024 cones, some 200
    are ever the lowest on a ring, and one for two Gaussians about one origin.
    """
    lowest = scores(jax.tree_util.Partial(cone_ascent.lowest_cone, cones), points)
    counts = np.bincount(lowest, minlength=len(cones.offsets))
    active = max(int(np.count_nonzero(counts)), _MIN_CONES)
    keep = np.argsort(-counts, kind="stable")[: 1 << (active - 1).bit_length()]
    return cones._replace(centers=cones.centers[keep], offsets=cones.offsets[keep])


def _keys(key: Array, n: int) -> list[Array]:
    return [key] if n == 1 else list(jax.random.split(key, n))


def _rounding(cones: Any, x: np.ndarray) -> float:
    """The largest error of float32 scores of points [n, d], against float64."""
    centers, offsets, sign, cap = (np.asarray(part, np.float64) for part in cones)
    heights = pairwise_distances(x.astype(np.float64), centers) + offsets
    exact = sign * np.minimum(heights.min(1), cap)
    return float(np.abs(scores(cones, x) - exact).max())


def _select_start(
    starts: list[Start], ascend: Callable[..., Ascent], length: int, judge: Judge, key: Array
) -> tuple[Start, Schedule]:
    """Select the start with the best score after a short ascent, and return its schedule too."""
    trials = []
    for start, start_key in zip(starts, jax.random.split(key, len(starts)), strict=True):
        plan = _schedule(start, judge, length)
        judge(start.cones)
        ascent = ascend(cone_ascent.begin(start.cones), plan, key=start_key)
        trials.append((judge(ascent.cones)[0], start, plan))
    _, start, plan = max(trials, key=lambda trial: trial[0])
    return start, plan


def _schedule(start: Start, judge: Judge, steps: int) -> Schedule:
    gap = float(cone_ascent.gap(start.cones, jnp.asarray(judge.seen)))
    return cone_ascent.schedule(gap, start.warmth, steps)


def _optimize(
    start: Start,
    plan: Schedule,
    ascend: Callable[..., Ascent],
    judge: Judge,
    key: Array,
    bar: Callable[[Progress], None],
    chunks: int,
    stop_early: bool,
) -> tuple[list[Progress], bool]:
    """Run the ascent until it reaches a plateau, or for twice its planned length.

    With `stop_early`, it ends after `_PATIENCE` chunks without gain on validation rows.
    """
    ascent = cone_ascent.begin(start.cones)
    history = [Progress(0, *judge(start.cones))]
    for chunk in range(2 * chunks):
        ascent = ascend(ascent, plan, key=key)
        history.append(Progress(int(ascent.step), *judge(ascent.cones)))
        bar(history[-1])
        scores = [past.score for past in history]
        if chunk + 1 >= chunks and _plateau(scores):
            return history, True
        if stop_early and len(scores) - 1 - int(np.argmax(scores)) >= _PATIENCE:
            return history, True
    return history, False


def _prune(
    x: np.ndarray,
    y: np.ndarray,
    ascend: Callable[..., Ascent],
    judge: Judge,
    key: Array,
    length: int,
    step: int,
    bar: Callable[[Progress], None],
) -> tuple[list[Progress], int]:
    """Alternately prune the cones that samples x and y need least, and train the others.

    Stops when too few remain; the judge remembers the best. Returns the history, and the
    number of cones that suffices for nearly the best score.
    """
    cones, history = judge.best, []
    fitted = jnp.asarray(x), jnp.asarray(y)
    best = judge(cones)[0]
    n = enough = len(cones.offsets)
    while n > _MIN_RETAINED:
        n = int(_RETAINED * n)
        cones = cone_ascent.keep_best(cones, np.asarray(cone_ascent.worth(cones, *fitted)), n)
        plan = _schedule(Start(cones, 1.2), judge, length)
        cones = ascend(cone_ascent.begin(cones), plan, key=jax.random.fold_in(key, n)).cones
        step += length
        history.append(Progress(step, *judge(cones)))
        bar(history[-1])
        score = history[-1].score
        if score < best - _PRUNING_LOSS * abs(best):
            break
        best = max(best, score)
        enough = n if score >= best - _NO_LOSS * abs(best) else enough
    return history, enough


def _plateau(scores: list[float]) -> bool:
    """Whether the last two chunks of steps together gained less than half a percent."""
    return max(scores[-2:]) - max(scores[:-2]) <= _NO_LOSS * abs(scores[-1])


def _rows(sampler: Any, key: Array, n: int) -> np.ndarray:
    return np.asarray(sampler.x) if isinstance(sampler, Rows) else draw(sampler, key, n)


@contextlib.contextmanager
def _bar(show: bool | None, steps: int, scale: float) -> Iterator[Callable[[Progress], None]]:
    """Show a progress bar, by default in a terminal or a notebook."""
    if not (sys.stderr.isatty() or "ipykernel" in sys.modules if show is None else show):
        yield lambda now: None
        return
    with warnings.catch_warnings():  # notebooks without widgets get a plain bar
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

    with tqdm(total=steps, unit="step") as bar:
        before = 0

        def update(now: Progress) -> None:
            nonlocal before
            bar.update(now.step - (before if before < now.step else 0))  # each ascent restarts at 0
            before, bar.total = now.step, max(steps, bar.n)
            bar.set_postfix_str(f"W1 at least {max(now.lower, 0.0) * scale:.4g}")

        yield update
