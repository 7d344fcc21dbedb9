"""The logger interface, and lookup of the classes that `--log` names."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from wgan_jax.errors import UserError, install_extra, one_line, suggest

_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
# Class by logger name, and the package that it needs, which the extra of that name installs.
_KNOWN: dict[str, tuple[str, str | None]] = {
    "tensorboard": ("wgan_jax.experiment.loggers.tensorboard:TensorBoard", "tensorboardX"),
    "wandb": ("wgan_jax.experiment.loggers.weights_and_biases:WeightsAndBiases", "wandb"),
}
# Loggers that an untrusted config may name: they use no network and run only our code.
HARMLESS = frozenset({"tensorboard"})


class Logger(Protocol):
    """Receives the log of a run, on the primary process and in the order of steps.

    The methods follow `clu.metric_writers`. Training waits for them, so slow loggers should use a
    thread. A logger that raises is reported once and then dropped.
    """

    def __init__(self, workdir: Path, step: int, name: str) -> None:
        """Opens or resumes the log of a run: at each start of `train`, and for the evaluation
        after the last step.

        Args:
          workdir: workdir of the run, or `WORKDIR/members/K` for member K of a sweep.
          step: step at which the run starts or resumes; later steps in the log are void.
          name: name of the run, or `NAME/K` for a member.
        """

    def write_hparams(self, hparams: dict[str, Any]) -> None:
        """Logs the config as nested dicts of JSON values, once at the start."""

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Logs finite numbers by name."""

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Logs uint8 images [n, h, w, 3] by name."""

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Logs texts by name: warnings about the critic or the samples."""

    def close(self) -> None:
        """Closes the log, also after a signal or an error has ended the run."""


def logger_names(log: str) -> tuple[str, ...]:
    """Returns the unique loggers that a `--log` value names.

    Raises:
      ValueError: a name that is neither known nor an import path.
    """
    words = [word.strip() for word in log.split(",")]
    names = tuple(dict.fromkeys(word for word in words if word and word != "none"))
    for name in names:
        if name not in _KNOWN and not _IMPORT_PATH.fullmatch(name):
            hint = suggest(name, list(_KNOWN))
            raise ValueError(
                f"log has no logger {name[:60]!r}; {hint} (name your own logger by its import "
                f"path, package.module:Class)"
            )
    return names


def find_logger(name: str) -> Callable[[Path, int, str], Logger]:
    """Imports the class of a name or import path, also from the working directory.

    Raises:
      UserError: a package is missing, or the module or its attribute cannot be imported.
    """
    path, package = _KNOWN.get(name, (name, None))
    if package is not None and importlib.util.find_spec(package) is None:
        raise UserError(f"--log {name} needs an extra; run: {install_extra(name)}")
    module, _, attributes = path.partition(":")
    if package is None and "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # console scripts lack it
    try:
        target: Any = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise UserError(f"--log {name} cannot be imported: {one_line(error)}") from error
    for attribute in attributes.split("."):
        if not hasattr(target, attribute):
            known = [known for known in dir(target) if not known.startswith("_")]
            hint = suggest(attribute, known, f"it has {', '.join(known)[:300] or 'no names'}")
            raise UserError(f"--log {name}: {module} has no {attribute}; {hint}")
        target = getattr(target, attribute)
    if not callable(target):
        raise UserError(f"--log {name} is not a class, but {type(target).__name__}")
    return target
