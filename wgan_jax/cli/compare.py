"""`python -m wgan_jax compare`."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from wgan_jax.cli import flags
from wgan_jax.cli.common import (
    features_file,
    int_option,
    require_local_data,
    require_writable,
    workdir,
)
from wgan_jax.data.remote import expand_user
from wgan_jax.errors import UserError
from wgan_jax.experiment.config_io import diff, to_dict
from wgan_jax.experiment.data_identity import warn_of_other_data

if TYPE_CHECKING:
    from wgan_jax.data.dataset import DatasetConfig
    from wgan_jax.experiment.run import Run

logger = logging.getLogger(__name__)

_SUFFIXES = (".json", ".png", ".html")
_IGNORED = {"labels", "label", "condition"}  # fields that do not change the examples


def compare(args: list[str]) -> int:
    """Compare generators by their W1 to the data, with bounds that all hold at once.

    usage: python -m wgan_jax compare RUN RUN... [--data DATA] [--num N] [--confidence C]
                                     [--seed S] [--features FILE [--sha256 HEX] [--scaling NAME]]
                                     [--out FILE]

    Each RUN is a workdir, at its newest checkpoint, or a file of samples as written by `sample`:
    .npy, .npz, .csv or .parquet. Two generators certainly differ if their intervals do not
    overlap. The data are those of the first workdir, and held-out data if it has any.

    --data        where the data are now; if only files are compared, what to compare them with: a
                  workdir, a config, or a file of data
    --num         maximum samples of each kind (20,000; 262,144 at first for unlimited data)
    --confidence  probability that all bounds hold at once (0.95)
    --seed        random seed; the same seed gives the same bounds (0)
    --features    measure distances between features: a file written by `features`, or weights
                  of Inception
    --sha256      SHA-256 of a features file that contains no digest of its own
    --scaling     how images are resized for Inception: pytorch-fid (the default), clean-fid,
                  or tensorflow (as in torch-fidelity)
    --out         FILE.json, FILE.png (the intervals) or FILE.html (with the curves of the runs);
                  may be repeated
    """
    outputs, args = flags.repeated_option(args, "out")
    data, args = flags.path_option(args, "data")
    num, args = int_option(args, "num", 16)
    level, args = flags.option(args, "confidence")
    seed, args = int_option(args, "seed")
    open_features, args = features_file(args)
    confidence = _confidence(level or "0.95")
    key = jax.random.key(seed or 0)
    paths = [_out(out) for out in outputs]
    names = _names(args)
    from wgan_jax.experiment.evaluation import comparison
    from wgan_jax.experiment.sampling.read_samples import read_samples

    on_data, on_samples, on_bounds = jax.random.split(key, 3)
    runs = {name: _open(name, data) for name in names if Path(expand_user(name)).is_dir()}
    dataset, trained_on = (_same_data(runs), True) if runs else _data_of_files(data)
    opened = next(iter(runs.values())).data if runs else dataset.open()
    title = dataset.title
    rows = num or comparison.ROWS
    reference = comparison.Reference.of(opened, title, on_data, rows, trained_on=trained_on)
    features = open_features()
    candidates = []
    for i, name in enumerate(names):
        sample_key = jax.random.fold_in(on_samples, i)
        if name in runs:
            candidates.append(comparison.Candidate.of(name, runs[name], reference, sample_key))
        else:
            samples = read_samples(Path(expand_user(name)), dataset, opened)
            candidates.append(comparison.Candidate(name, samples))
    held_out = {} if num is None else {"held_out": num}
    try:
        result = comparison.compare(
            candidates, reference, on_bounds, confidence=confidence, features=features, **held_out
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    print(comparison.table(result))
    for path in paths:
        _write(path, result, [Path(expand_user(name)) for name in runs])
        print(path)
    return 0


def _names(args: list[str]) -> list[str]:
    if not args:
        raise UserError("compare takes workdirs and files of samples, got none")
    paths = [Path(expand_user(name)).resolve() for name in args]
    if twice := next((n for n, p in zip(args, paths, strict=True) if paths.count(p) > 1), None):
        raise UserError(f"compare takes each run once, got {twice} twice")
    for name in args:
        if name.startswith("-") or not Path(expand_user(name)).exists():
            raise UserError(f"there is no workdir or file of samples {name!r}")
    return args


def _open(name: str, data: str | None) -> Run:
    """Open the run of a workdir at its newest checkpoint."""
    from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints
    from wgan_jax.experiment.run import open_run

    folder = workdir("compare", [name])
    config = flags.load(folder / "config.json")
    if config.sweep is not None:
        raise UserError(f"{name} holds a sweep: sample its members to files and compare those")
    if data is None:
        require_local_data(config, "--data")
    else:
        config = dataclasses.replace(config, dataset=_moved(config.dataset, data))
    if not Checkpoints(folder / "checkpoints").steps():
        raise UserError(f"{folder} holds no checkpoint")
    run = open_run(config, folder)
    warn_of_other_data(run.data, folder)
    return run


def _moved(dataset: Any, data: str) -> Any:
    try:
        return dataset.at_location(data)
    except UserError as error:
        raise UserError(f"{error}, so leave --data out") from error


def _same_data(runs: dict[str, Run]) -> DatasetConfig:
    """Return the data set that all runs share.

    Raises:
      UserError: they were trained on different data sets.
    """
    (first, run), *others = runs.items()
    for name, other in others:
        changed = set(diff(*(to_dict(each.config.dataset) for each in (run, other))))
        differ = changed - _IGNORED
        if not changed:
            differ = {"content"} if run.data.fingerprint() != other.data.fingerprint() else set()
        if differ:
            titles = f"{run.config.dataset.title} and {other.config.dataset.title}"
            raise UserError(
                f"{first} and {name} were trained on different data ({titles}: "
                f"{', '.join(sorted(differ)) or 'other kinds'}), so they cannot be compared"
            )
    return run.config.dataset


def _data_of_files(data: str | None) -> tuple[Any, bool]:
    """Return the data to compare files of samples with, and whether generators trained on them."""
    from wgan_jax.data import array_files, own_arrays, table, table_files, table_parts

    if data is None:
        raise UserError("files of samples need --data: a workdir, a config or a file of data")
    path = Path(data)
    if table_files.is_table(path) or table_parts.parts_of(data)[1]:
        return table.Table(path=data), False
    if path.suffix.lower() in array_files.SUFFIXES:
        return own_arrays.Arrays(path=data), False
    return flags.load(path / "config.json" if path.is_dir() else data).dataset, True


def _confidence(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise UserError(f"--confidence takes a number between 0 and 1, got {text[:60]!r}")
    return value


def _out(out: str) -> Path:
    path = Path(expand_user(out))
    if path.suffix not in _SUFFIXES:
        raise UserError(f"{out} should end in {', '.join(_SUFFIXES)}")
    require_writable(path)
    return path


def _write(path: Path, result: Any, folders: list[Path]) -> None:
    from wgan_jax.experiment import plots
    from wgan_jax.experiment.evaluation.comparison import short_names, statements
    from wgan_jax.experiment.report.several import write_page
    from wgan_jax.experiment.workdir import write_json
    from wgan_jax.files import atomic_write

    if path.suffix == ".json":
        write_json(path, result.to_json())
    elif path.suffix == ".html":
        write_page(path, folders, result)
    else:
        names = short_names([candidate.name for candidate, _ in result.rows])
        bounds = [(e.lower, e.value, e.upper) for _, e in result.rows]
        title = f"W1 to {result.reference.title}"
        with atomic_write(path) as file:
            plots.intervals(names, bounds, title, statements(result)[-1], file)
