"""The critic behind the lower bound: cones fitted to a part of the samples."""

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
_STAYING, _FEWEST_STAYING = 0.71, 4  # cones, when others leave that are worth less
_TOO_FEW, _AS_GOOD = 0.05, 0.005  # of a score, below the best
_DOUBT = ((SEEN - FIT) / (1 - SEEN)) ** 0.5  # the share of a margin that is left on held-out rows
_PATIENCE = 2  # chunks that validation rows may speak against
_FEWEST_CONES = 16  # that are kept, so that few programs are compiled
_NEAR = 8  # times the standard error of a score on one batch, in units of the laws' spread


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
    """Try every start for a tenth of the steps, then follow the best to the end.

    Many cones learn the rows of an array by heart: there it is done with few, then with more as
    long as samples that the cones are not fitted to speak for them. An ascent ends when these
    have spoken against two tenths of it in a row; then the cones that are worth least leave, and
    where a quarter of them does not score as well, it is done with more.

    Where quantised laws are so near that a batch hardly tells them from noise, it starts from
    their potentials, which come from millions of draws, and takes three tenths of the steps.
    """
    p, q = pair.part(0, FIT)
    at_start, at_pilot, at_ascent, at_validation, at_thinning = pair.keys(0, 5)
    rows = [len(side.x) for side in (p, q) if isinstance(side, Rows)]
    most = min([cones, *rows])
    counts = [*(few for few in _FEW_CONES if 2 * few <= most), most] if rows else [most]
    length = -(-steps // CHUNKS)
    first, second, third, fourth = jax.random.split(at_start, 4)
    many = 65536 if quantised is None else most  # draws, to tell the means apart
    x, y = _rows(p, first, many), _rows(q, second, many)
    step = y.mean(0) - x.mean(0) if quantised is None else quantised.step
    seen = draw(p, fourth, 2048), draw(q, third, 2048)
    near = quantised is not None and quantised.cost < _NEAR * (2 / batch_size) ** 0.5
    validation = held_out if near else 2 * BLOCK
    doubt = 1.0 if near else _DOUBT if rows else 0.0
    judge = Judge.of(pair, seen, at_validation, alpha, validation, doubt)
    chunks = 3 if near else CHUNKS
    if quantised is not None and near:
        linear = cone_ascent.starts(x[:most], y[:most], step)[2].cones
        for critic in [*quantised.critics(most), linear]:
            judge(critic)
        now = Progress(0, *judge(judge.best))
        if now.lower <= 0:  # of noise there is nothing to learn
            return Fit(judge.best, 0, True, [now], _rounding(judge.best, judge.seen))
    pilots, ascents = (_keys(key, len(counts)) for key in (at_pilot, at_ascent))
    with _bar(progress, chunks * length * len(counts), float(pair.scale)) as bar:
        for i, k in enumerate(counts):
            before = judge.best
            batch = min(batch_size, 4 * k) if rows else batch_size
            ascend = partial(cone_ascent.ascend, p=p, q=q, length=length, batch_size=batch)
            if near:
                start = Start(judge.best, 0.3)
                plan = _schedule(start, judge, length)
            else:
                starts = cone_ascent.starts(x[:k], y[:k], step)
                start, plan = _pilot(starts, ascend, length, judge, pilots[i])
            plan = plan._replace(steps=jnp.float32(chunks * length))
            found = _climb(start, plan, ascend, judge, ascents[i], bar, chunks, bool(rows))
            if i > 0 and judge.best is before:
                break
            history, converged = found
            if not rows or judge.highest <= 0:  # of noise there is nothing to learn
                break
            key = jax.random.fold_in(at_thinning, k)
            thinned, enough = _thin_out(x, y, ascend, judge, key, length, history[-1].step, bar)
            history += thinned
            if enough <= k // 4:
                break
    critic = _pruned(judge.best, judge.points)
    return Fit(critic, history[-1].step, converged, history, _rounding(critic, judge.seen))


def _pruned(cones: ConeParams, points: np.ndarray) -> ConeParams:
    """The cones that are lowest anywhere at points [n, d], and a few to make a power of two.

    The others cost as much at each of millions of held-out draws: of 1,024 cones of a ring some
    200 are ever the lowest, of two Gaussians about one origin one is.
    """
    lowest = scores(jax.tree_util.Partial(cone_ascent.lowest_cone, cones), points)
    counts = np.bincount(lowest, minlength=len(cones.offsets))
    active = max(int(np.count_nonzero(counts)), _FEWEST_CONES)
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


def _pilot(
    starts: list[Start], ascend: Callable[..., Ascent], length: int, judge: Judge, key: Array
) -> tuple[Start, Schedule]:
    """The start that gets furthest in one short ascent, and that ascent's schedule."""
    trials = []
    for start, one in zip(starts, jax.random.split(key, len(starts)), strict=True):
        plan = _schedule(start, judge, length)
        judge(start.cones)
        ascent = ascend(cone_ascent.begin(start.cones), plan, key=one)
        trials.append((judge(ascent.cones)[0], start, plan))
    _, start, plan = max(trials, key=lambda trial: trial[0])
    return start, plan


def _schedule(start: Start, judge: Judge, steps: int) -> Schedule:
    gap = float(cone_ascent.gap(start.cones, jnp.asarray(judge.seen)))
    return cone_ascent.schedule(gap, start.warmth, steps)


def _climb(
    start: Start,
    plan: Schedule,
    ascend: Callable[..., Ascent],
    judge: Judge,
    key: Array,
    bar: Callable[[Progress], None],
    chunks: int,
    doubtful: bool,
) -> tuple[list[Progress], bool]:
    """The ascent to its plateau, or to twice its planned length.

    A doubtful one ends before, where validation rows have spoken against it for a while.
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
        if doubtful and len(scores) - 1 - int(np.argmax(scores)) >= _PATIENCE:
            return history, True
    return history, False


def _thin_out(
    x: np.ndarray,
    y: np.ndarray,
    ascend: Callable[..., Ascent],
    judge: Judge,
    key: Array,
    length: int,
    step: int,
    bar: Callable[[Progress], None],
) -> tuple[list[Progress], int]:
    """Let the cones that samples x and y need least leave, some at a time, and the others climb.

    It ends when too few are left; the judge remembers the best. Returns the history, and how
    many cones are enough for nearly the best score.
    """
    cones, history = judge.best, []
    fitted = jnp.asarray(x), jnp.asarray(y)
    best = judge(cones)[0]
    n = enough = len(cones.offsets)
    while n > _FEWEST_STAYING:
        n = int(_STAYING * n)
        cones = cone_ascent.keep_best(cones, np.asarray(cone_ascent.worth(cones, *fitted)), n)
        plan = _schedule(Start(cones, 1.2), judge, length)
        cones = ascend(cone_ascent.begin(cones), plan, key=jax.random.fold_in(key, n)).cones
        step += length
        history.append(Progress(step, *judge(cones)))
        bar(history[-1])
        score = history[-1].score
        if score < best - _TOO_FEW * abs(best):
            break
        best = max(best, score)
        enough = n if score >= best - _AS_GOOD * abs(best) else enough
    return history, enough


def _plateau(scores: list[float]) -> bool:
    """The last two chunks of steps gained less than half a percent together."""
    return max(scores[-2:]) - max(scores[:-2]) <= _AS_GOOD * abs(scores[-1])


def _rows(sampler: Any, key: Array, n: int) -> np.ndarray:
    return np.asarray(sampler.x) if isinstance(sampler, Rows) else draw(sampler, key, n)


@contextlib.contextmanager
def _bar(show: bool | None, steps: int, scale: float) -> Iterator[Callable[[Progress], None]]:
    """A progress bar in a terminal or a notebook, unless told otherwise."""
    if not (sys.stderr.isatty() or "ipykernel" in sys.modules if show is None else show):
        yield lambda now: None
        return
    with warnings.catch_warnings():  # of a notebook without widgets, where a plain bar will do
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

    with tqdm(total=steps, unit="step") as bar:
        before = 0

        def update(now: Progress) -> None:
            nonlocal before
            bar.update(now.step - (before if before < now.step else 0))  # each ascent from 0
            before, bar.total = now.step, max(steps, bar.n)
            bar.set_postfix_str(f"W1 at least {max(now.lower, 0.0) * scale:.4g}")

        yield update
