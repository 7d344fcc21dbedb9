"""Errors caused by user input."""

import difflib
from collections.abc import Sequence
from pathlib import Path


class UserError(Exception):
    """Bad input: the message is one line that says what is wrong and what to do.

    The entry points print it and exit with status 2.
    """


def one_line(error: BaseException, most: int = 200) -> str:
    """The message of an error on one line of at most so many letters; without one, its kind.

    Example:
      >>> one_line(ValueError("two   words")), one_line(EOFError())
      ('two words', 'EOFError')
    """
    return " ".join(str(error).split())[:most] or type(error).__name__


def suggest(name: str, known: Sequence[str], otherwise: str | None = None) -> str:
    """The known name that is nearest to `name`; where none is near, other words or all of them.

    Example:
      >>> suggest("criitc", ["critic", "generator"]), suggest("x", ["critic", "generator"])
      ('did you mean critic?', 'known: critic, generator')
    """
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else otherwise or f"known: {', '.join(known)}"


def install_extra(extra: str) -> str:
    """The command that installs an extra, into a clone that is used as it stands as well."""
    clone = Path(__file__).parents[1]
    if (clone / "pyproject.toml").is_file():
        return f"pip install -e '{clone}[{extra}]'"
    return f"pip install 'wgan_jax[{extra}]'"
