"""Errors caused by user input."""

import difflib
from collections.abc import Sequence
from pathlib import Path


class UserError(Exception):
    """Bad input: the message is one line that says what is wrong and what to do.

    The entry points print it and exit with status 2.
    """


def one_line(error: BaseException, most: int = 200) -> str:
    """Return an error's message as one line of at most `most` characters, else its type.

    Example:
      >>> one_line(ValueError("two   words")), one_line(EOFError())
      ('two words', 'EOFError')
    """
    return " ".join(str(error).split())[:most] or type(error).__name__


def suggest(name: str, known: Sequence[str], otherwise: str | None = None) -> str:
    """Suggest the known name closest to `name`; if none is close, `otherwise` or all names.

    Example:
      >>> suggest("criitc", ["critic", "generator"]), suggest("x", ["critic", "generator"])
      ('did you mean critic?', 'known: critic, generator')
    """
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else otherwise or f"known: {', '.join(known)}"


def install_extra(extra: str) -> str:
    """Return the command that installs an extra, editable if this is a clone."""
    clone = Path(__file__).parents[1]
    if (clone / "pyproject.toml").is_file():
        return f"pip install -e '{clone}[{extra}]'"
    return f"pip install 'wgan_jax[{extra}]'"
