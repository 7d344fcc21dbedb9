"""`python -m wgan_jax evaluate`."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wgan_jax.cli import flags
from wgan_jax.cli.common import (
    features_file,
    parse_nonnegative_int,
    require_local_data,
    workdir,
)
from wgan_jax.errors import UserError
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.loggers.logger import HARMLESS
from wgan_jax.files import read_file

if TYPE_CHECKING:
    from wgan_jax.experiment.evaluation.features import Features
    from wgan_jax.experiment.run import Run
    from wgan_jax.types import GANState

logger = logging.getLogger(__name__)

_LARGEST_EVALUATION = 2**20


def evaluate(args: list[str]) -> int:
    """Judge the newest checkpoint: each number next to that of data against other data.

    usage: python -m wgan_jax evaluate WORKDIR [--metrics NAME,NAME] [--num N]
                                      [--features FILE [--sha256 HEX] [--scaling NAME]]
                                      [--member K] [--data-dir DIR]

    Prints a table, writes WORKDIR/evaluation.json (and TensorBoard, where it is on) and brings
    WORKDIR/report.html up to date.

    --metrics   some of w1, modes, critic, frechet, kernel, precision, recall, density,
                coverage, classifier, accuracy, memorization; all that apply if not given
    --num       samples of each kind for the measures on features (5,000, at most half the data;
                1,000 for memorization)
    --features  what images are judged by: a file of `python -m wgan_jax features`, or weights
                of Inception (docs/metrics.md); if not given, a small classifier is trained on
                the data set itself at the first use and kept beside it
    --sha256    of a features file that carries no digest of its own
    --scaling   whose way of scaling images Inception sees: pytorch-fid (the default), clean-fid,
                or tensorflow (as torch-fidelity)
    --member    of a sweep, counted from 0: this one as a run, into WORKDIR/members/K; a row
                for each member if not given
    --data-dir  where the data set is now, a folder or address; as the run had it, if not given,
                but for an address of which there is no copy here
    """
    from wgan_jax.experiment.evaluation.quality import POINTS

    chosen, args = flags.option(args, "metrics")
    open_features, args = features_file(args)
    member, args = flags.option(args, "member")
    num, args = flags.option(args, "num")
    data_dir, args = flags.path_option(args, "data-dir")
    names = _names(chosen)
    points = POINTS if num is None else parse_nonnegative_int("num", num, 8)
    folder = workdir("evaluate", args)
    config = _config(folder, data_dir)
    if member is None and config.sweep is not None:
        return _all_members(folder, config)
    run = _finished(folder, config, member)
    if member is not None:
        from wgan_jax.experiment.sweep_run import write_member

        folder = write_member(run, folder, int(member))
    given = open_features()
    judge = _features(run, folder, given) if given or _on_features(names) else None
    result = _measured(run, folder, names, judge, points)
    if not result:
        raise UserError(f"none of {', '.join(names)} applies to this run")
    # The config may be anybody's: no module that it names is imported, and no server told.
    harmless = tuple(name for name in run.config.loggers if name in HARMLESS)
    _write(folder, run, result, whole=chosen is None, loggers=harmless)
    _say(folder, run, result)
    return 0


def summarize_run(run: Run, folder: Path) -> None:
    """What `train.py` says and writes when a run is done."""
    result = _measured(run, folder, ("w1", "modes", "critic"), None, 0)
    _write(folder, run, result, whole=True, loggers=run.config.loggers)
    _say(folder, run, result)


def _measured(
    run: Run, folder: Path, names: tuple[str, ...], judge: Features | None, points: int
) -> dict[str, Any]:
    """One generator, measured: that of the weights that samples are drawn from."""
    from wgan_jax.experiment.evaluation import quality, transport
    from wgan_jax.experiment.evaluation.certified import critic_share
    from wgan_jax.experiment.evaluation.samples import kind_of, weights_of
    from wgan_jax.transforms.ema import with_ema

    state = with_ema(run.state)
    result: dict[str, Any] = {}
    if "w1" in names:
        result |= run.certified_w1(run.state, final=True)
        if judge is not None and judge.sees_images:
            # One half is for its critic to be fitted to, the other one as many as elsewhere.
            result |= run.certified_w1(run.state, final=True, features=judge, num=2 * points)
    if "critic" in names:
        result |= run.critic_diagnostics(run.state)
    result |= critic_share(result)
    if {"w1", "modes"} & set(names):
        found = transport.evaluate(run.config, run.gan, state, run.data)
        groups = {"modes": ("modes/",), "w1": ("w1/", "columns/", "points", "draws")}
        kept = tuple(prefix for name in names for prefix in groups.get(name, ()))
        result |= {key: value for key, value in found.items() if key.startswith(kept)}
    wanted = tuple(name for name in names if name in quality.MEASURES)
    if judge is not None and wanted:
        result |= quality.feature_metrics(
            run.gan, state, run.data, judge, names=wanted, points=points
        )
    if "memorization" in names:
        result |= _memorized(run, folder, state, judge, points)
    about = {"weights": weights_of(run.state), "data": kind_of(run.data)}
    return about | result if result else {}


def _memorized(
    run: Run, folder: Path, state: GANState, judge: Features | None, points: int
) -> dict[str, Any]:
    """Nearest training examples, as numbers and as a picture; nothing of a distribution."""
    from wgan_jax.experiment import plots
    from wgan_jax.experiment.evaluation.memorization import memorization
    from wgan_jax.files import atomic_write

    found, images = memorization(
        run.config.dataset, run.gan, state, run.data, run.held_out, judge, points=points
    )
    if images is not None:
        with atomic_write(folder / "nearest.png") as file:
            plots.beside_neighbors(*images, file)
    return found


def _features(run: Run, folder: Path, given: Features | None) -> Features | None:
    """The network to judge by: a given one, or one of the data set itself; points as they are."""
    from wgan_jax.experiment.evaluation import features
    from wgan_jax.experiment.evaluation.quality import points_features
    from wgan_jax.experiment.evaluation.samples import sample_shape

    shape = sample_shape(run.data)
    if given is not None:
        if len(shape) != 3 or given.image not in (None, shape):
            raise UserError(
                f"{given.name} is for images of shape {given.image}, but this run makes {shape}"
            )
        return given
    if len(shape) != 3:
        return points_features(shape)
    try:
        return features.default_features(run.config.dataset, folder)
    except UserError as error:
        logger.warning(f"no features: {error}")
        return None


def _names(chosen: str | None) -> tuple[str, ...]:
    from wgan_jax.experiment.evaluation.quality import MEASURES

    known = ("w1", "modes", "critic", *MEASURES, "memorization")
    if chosen is None:
        return known
    names = tuple(name.strip() for name in chosen.split(","))
    for name in names:
        if name not in known:
            raise UserError(f"unknown metric {name!r}: choose from {', '.join(known)}")
    return names


def _on_features(names: tuple[str, ...]) -> bool:
    from wgan_jax.experiment.evaluation.quality import MEASURES

    return bool(set(names) & {*MEASURES, "memorization"})


def _write(
    folder: Path, run: Run, result: dict[str, Any], *, whole: bool, loggers: tuple[str, ...]
) -> None:
    """evaluation.json, and the log; a part keeps the rest of the same step."""
    from wgan_jax.experiment.loggers.run_loggers import log_evaluation
    from wgan_jax.experiment.workdir import write_json

    line, path = {"step": int(run.state.step), **result}, folder / "evaluation.json"
    if not whole and path.exists():
        former = _read(path)
        line = former | line if former.get("step") == line["step"] else line
    write_json(path, line)
    log_evaluation(loggers, folder, line)


def _read(path: Path) -> dict[str, Any]:
    try:
        former = json.loads(read_file(path, _LARGEST_EVALUATION))
    except (OSError, ValueError, RecursionError):
        return {}
    return former if isinstance(former, dict) else {}


def _say(folder: Path, run: Run, result: dict[str, Any]) -> None:
    from wgan_jax.experiment.evaluation import critic
    from wgan_jax.experiment.evaluation.summary import summarize
    from wgan_jax.experiment.report.reporter import write_report

    step = int(run.state.step)
    print(f"{'step':18} {step:,}  {folder / 'samples' / f'{step}.png'}")
    print(f"{'report':18} {write_report(folder)}")
    if "memorization/training" in result and (folder / "nearest.png").exists():
        print(f"{'nearest':18} {folder / 'nearest.png'}")
    for warning in critic.diagnose(result).values():
        print(f"{'warning':18} {warning}")
    lines = summarize(result)
    print(lines, end="\n" if lines else "")


def _config(folder: Path, data_dir: str | None) -> Config:
    config = flags.load(folder / "config.json")
    if data_dir is None:
        require_local_data(config, "--data-dir")
        return config
    dataset: Any = config.dataset.at_location(data_dir)
    return dataclasses.replace(config, dataset=dataset)


def _all_members(folder: Path, config: Config) -> int:
    from wgan_jax.experiment.sweep_run import open_sweep

    print(open_sweep(config, folder).write_table(folder))
    return 0


def _finished(folder: Path, config: Config, member: str | None = None) -> Run:
    from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints
    from wgan_jax.experiment.run import open_run
    from wgan_jax.experiment.sweep_run import open_member

    if not Checkpoints(folder / "checkpoints").steps():
        raise UserError(f"{folder} holds no checkpoint")
    if member is not None:
        return open_member(config, folder, parse_nonnegative_int("member", member))
    return open_run(config, folder)
