"""The interface of loggers, and the classes that `--log` names."""

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
# By name: the class, and the package that it needs, if any, from an extra of the logger's name.
_KNOWN: dict[str, tuple[str, str | None]] = {
    "tensorboard": ("wgan_jax.experiment.loggers.tensorboard:TensorBoard", "tensorboardX"),
    "wandb": ("wgan_jax.experiment.loggers.weights_and_biases:WeightsAndBiases", "wandb"),
}
# What opens no address and runs no code but ours, and so may be named by a config from anybody.
HARMLESS = frozenset({"tensorboard"})


class Logger(Protocol):
    """Takes what a run has to tell, on the primary process and in the order of steps.

    Its methods are those of `clu.metric_writers`. Training waits for them, so a slow one hands its
    work to a thread. One that raises is told of once and left out from then on.
    """

    def __init__(self, workdir: Path, step: int, name: str) -> None:
        """Opens the log of a run, or goes on with it: at each start of `train`, and for the
        evaluation after the last step.

        Args:
          workdir: of the run; of member K of a sweep `WORKDIR/members/K`.
          step: at which the run starts or goes on; what was logged for later steps is void.
          name: of the run; of a member `NAME/K`.
        """

    def write_hparams(self, hparams: dict[str, Any]) -> None:
        """Takes the config as nested dicts of JSON values, once at the start."""

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Takes finite numbers by name."""

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Takes images [n, h, w, 3] by name, uint8."""

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Takes texts by name: warnings about the critic or the samples."""

    def close(self) -> None:
        """Ends the log, also where a signal or an error has ended the run."""


def logger_names(log: str) -> tuple[str, ...]:
    """The loggers that a `--log` names, each once.

    Raises:
      ValueError: a name that is neither known nor an import path.
    """
    words = [word.strip() for word in log.split(",")]
    names = tuple(dict.fromkeys(word for word in words if word and word != "none"))
    for name in names:
        if name not in _KNOWN and not _IMPORT_PATH.fullmatch(name):
            hint = suggest(name, list(_KNOWN))
            raise ValueError(
                f"log has no logger {name[:60]!r}; {hint} (one of your own is named by its import "
                f"path, package.module:Class)"
            )
    return names


def find_logger(name: str) -> Callable[[Path, int, str], Logger]:
    """The class of a name or import path; modules of the working directory are found as well.

    Raises:
      UserError: a package is missing, the module cannot be imported, or has no such name.
    """
    path, package = _KNOWN.get(name, (name, None))
    if package is not None and importlib.util.find_spec(package) is None:
        raise UserError(f"--log {name} needs an extra; run: {install_extra(name)}")
    module, _, attributes = path.partition(":")
    if package is None and "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # as a console script has not
    try:
        found: Any = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise UserError(f"--log {name} cannot be imported: {one_line(error)}") from error
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            known = [known for known in dir(found) if not known.startswith("_")]
            hint = suggest(attribute, known, f"it has {', '.join(known)[:300] or 'no names'}")
            raise UserError(f"--log {name}: {module} has no {attribute}; {hint}")
        found = getattr(found, attribute)
    if not callable(found):
        raise UserError(f"--log {name} is no class, but {type(found).__name__}")
    return found
