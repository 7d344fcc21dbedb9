"""`python -m wgan_jax evaluate`."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wgan_jax.cli import flags
from wgan_jax.cli.common import (
    features_file,
    int_option,
    require_local_data,
    require_writable,
    workdir,
)
from wgan_jax.errors import UserError
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.data_identity import warn_of_other_data
from wgan_jax.experiment.loggers.logger import HARMLESS
from wgan_jax.files import read_json_object

if TYPE_CHECKING:
    from wgan_jax.experiment.evaluation.features import Features
    from wgan_jax.experiment.run import Run
    from wgan_jax.types import GANState

logger = logging.getLogger(__name__)

_LARGEST_EVALUATION = 2**20


def evaluate(args: list[str]) -> int:
    """Evaluate the newest checkpoint, each metric next to its value for data against data.

    usage: python -m wgan_jax evaluate WORKDIR [--metrics NAME,NAME] [--num N]
                                      [--features FILE [--sha256 HEX] [--scaling NAME]]
                                      [--member K] [--data-dir DIR]

    Prints a table, writes WORKDIR/evaluation.json (and to TensorBoard, if enabled) and updates
    WORKDIR/report.html.

    --metrics   some of w1, modes, critic, frechet, kernel, precision, recall, density,
                coverage, classifier, accuracy, memorization (default: all that apply)
    --num       samples of each kind for the metrics on features (5,000, at most half the data;
                1,000 for memorization)
    --features  feature extractor for images: a file written by `python -m wgan_jax features`, or
                weights of Inception (docs/metrics.md); by default a small classifier, trained
                on the data set itself at first use and stored next to it
    --sha256    SHA-256 of a features file that contains no digest of its own
    --scaling   how images are resized for Inception: pytorch-fid (the default), clean-fid,
                or tensorflow (as in torch-fidelity)
    --member    member of a sweep, counted from 0: evaluate it as a run in WORKDIR/members/K;
                by default, print a row for each member
    --data-dir  folder or address of the data set (default: as in the run's config, except for
                an address without a local copy, which has to be given here)
    """
    from wgan_jax.experiment.evaluation.quality import MEASURES, POINTS

    chosen = [word.partition("=")[0] for word in args]
    metrics, args = flags.option(args, "metrics")
    open_features, args = features_file(args)
    member, args = int_option(args, "member")
    num, args = int_option(args, "num", 8)
    data_dir, args = flags.path_option(args, "data-dir")
    names = _names(metrics)
    points = POINTS if num is None else num
    folder = workdir("evaluate", args)
    config = _config(folder, data_dir)
    require_writable(folder / "evaluation.json")
    if member is None and config.sweep is not None:
        from wgan_jax.experiment.sweep_run import open_sweep

        if unused := {"--metrics", "--num", "--features"}.intersection(chosen):
            raise UserError(f"{min(unused)} is for one member of a sweep: choose it by --member")
        sweep = open_sweep(config, folder)
        warn_of_other_data(sweep.data, folder)
        print(sweep.write_table(folder))
        return 0
    run = _open(folder, config, member)
    warn_of_other_data(run.data, folder)
    if member is not None:
        from wgan_jax.experiment.sweep_run import write_member

        folder = write_member(run, folder, member)
    given = open_features()
    on_features = bool(set(names) & {*MEASURES, "memorization"})
    extractor = _features(run, folder, given) if given or on_features else None
    result = _measure(run, folder, names, extractor, points)
    if not result:
        raise UserError(f"none of {', '.join(names)} applies to this run")
    # The config is untrusted: no module that it names is imported, and no server contacted.
    harmless = tuple(name for name in run.config.loggers if name in HARMLESS)
    _publish(folder, run, result, complete=metrics is None, loggers=harmless)
    return 0


def summarize_run(run: Run, folder: Path) -> None:
    """Evaluate a finished run, and write and print the results as `train.py` does."""
    logger.info("training is complete and saved; evaluating its samples")
    result = _measure(run, folder, ("w1", "modes", "critic"), None, 0)
    _publish(folder, run, result, complete=True, loggers=run.config.loggers)


def _measure(
    run: Run, folder: Path, names: tuple[str, ...], extractor: Features | None, points: int
) -> dict[str, Any]:
    """Compute the metrics `names` of the generator with the weights that samples use."""
    from wgan_jax.experiment.evaluation import quality, transport
    from wgan_jax.experiment.evaluation.certified import critic_share
    from wgan_jax.experiment.evaluation.samples import kind_of, weights_of
    from wgan_jax.transforms.ema import with_ema

    state = with_ema(run.state)
    result: dict[str, Any] = {}
    if "w1" in names:
        result |= run.certified_w1(run.state, final=True)
        if extractor is not None and extractor.sees_images:
            # Half of these fit the critic, so that the bounds rest on `points`, as elsewhere.
            result |= run.certified_w1(run.state, final=True, features=extractor, num=2 * points)
    if "critic" in names:
        result |= run.critic_diagnostics(run.state)
    result |= critic_share(result)
    if {"w1", "modes"} & set(names):
        exact = transport.evaluate(run.config, run.gan, state, run.data)
        groups = {"modes": ("modes/",), "w1": ("w1/", "columns/", "points", "draws")}
        prefixes = tuple(prefix for name in names for prefix in groups.get(name, ()))
        result |= {key: value for key, value in exact.items() if key.startswith(prefixes)}
    measures = tuple(name for name in names if name in quality.MEASURES)
    if extractor is not None and measures:
        result |= quality.feature_metrics(
            run.gan, state, run.data, extractor, names=measures, points=points
        )
    if "memorization" in names:
        result |= _memorization(run, folder, state, extractor, points)
    about = {"weights": weights_of(run.state), "data": kind_of(run.data)}
    return about | result if result else {}


def _memorization(
    run: Run, folder: Path, state: GANState, extractor: Features | None, points: int
) -> dict[str, Any]:
    """Compare samples with their nearest training examples; empty if data are a distribution."""
    from wgan_jax.experiment import plots
    from wgan_jax.experiment.evaluation.memorization import memorization
    from wgan_jax.files import atomic_write

    numbers, images = memorization(
        run.config.dataset, run.gan, state, run.data, run.held_out, extractor, points=points
    )
    if images is not None:
        with atomic_write(folder / "nearest.png") as file:
            plots.beside_neighbors(*images, file)
    return numbers


def _features(run: Run, folder: Path, given: Features | None) -> Features | None:
    """Return the given extractor, or one trained on the data set; for points, the identity."""
    from wgan_jax.experiment.evaluation import features
    from wgan_jax.experiment.evaluation.quality import points_features
    from wgan_jax.experiment.evaluation.samples import sample_shape

    shape = sample_shape(run.data)
    if given is not None:
        if len(shape) != 3 or given.image not in (None, shape):
            size = "" if given.image is None else f" of shape {given.image}"
            raise UserError(f"{given.name} is for images{size}, but this run generates {shape}")
        return given
    if len(shape) != 3:
        return points_features(shape)
    try:
        return features.default_features(run.config.dataset, folder)
    except UserError as error:
        logger.warning(f"metrics on features are left out: {error}")
        return None


def _names(metrics: str | None) -> tuple[str, ...]:
    from wgan_jax.experiment.evaluation.quality import MEASURES

    known = ("w1", "modes", "critic", *MEASURES, "memorization")
    if metrics is None:
        return known
    names = tuple(name.strip() for name in metrics.split(","))
    for name in names:
        if name not in known:
            raise UserError(f"unknown metric {name!r}: choose from {', '.join(known)}")
    return names


def _publish(folder: Path, run: Run, result: dict[str, Any], **how: Any) -> None:
    """Write the results and print them, also if they cannot be written: they took minutes."""
    from wgan_jax.experiment.evaluation import critic
    from wgan_jax.experiment.evaluation.summary import summarize

    try:
        _write(folder, run, result, **how)
        _print_files(folder, int(run.state.step), result)
    finally:
        for warning in critic.diagnose(result).values():
            print(f"{'warning':18} {warning}")
        lines = summarize(result)
        print(lines, end="\n" if lines else "")


def _write(
    folder: Path, run: Run, result: dict[str, Any], *, complete: bool, loggers: tuple[str, ...]
) -> None:
    """Write evaluation.json and log it; a partial one is merged into that of the same step."""
    from wgan_jax.experiment.loggers.run_loggers import log_evaluation
    from wgan_jax.experiment.workdir import write_json

    line, path = {"step": int(run.state.step), **result}, folder / "evaluation.json"
    if not complete and path.exists():
        previous = _read(path)
        line = previous | line if previous.get("step") == line["step"] else line
    write_json(path, line)
    log_evaluation(loggers, folder, line)


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path, _LARGEST_EVALUATION)
    except (OSError, ValueError, RecursionError):
        return {}


def _print_files(folder: Path, step: int, result: dict[str, Any]) -> None:
    from wgan_jax.experiment.report.reporter import write_report

    picture = folder / "samples" / f"{step}.png"  # not drawn if a signal stopped the run
    print(f"{'step':18} {step:,}{f'  {picture}' if picture.exists() else ''}")
    print(f"{'report':18} {write_report(folder)}")
    if "memorization/training" in result and (folder / "nearest.png").exists():
        print(f"{'nearest':18} {folder / 'nearest.png'}")


def _config(folder: Path, data_dir: str | None) -> Config:
    config = flags.load(folder / "config.json")
    if data_dir is None:
        require_local_data(config, "--data-dir")
        return config
    dataset: Any = config.dataset.at_location(data_dir)
    return dataclasses.replace(config, dataset=dataset)


def _open(folder: Path, config: Config, member: int | None) -> Run:
    from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints
    from wgan_jax.experiment.run import open_run
    from wgan_jax.experiment.sweep_run import open_member

    if not Checkpoints(folder / "checkpoints").steps():
        raise UserError(f"{folder} holds no checkpoint")
    if member is not None:
        return open_member(config, folder, member)
    return open_run(config, folder)
