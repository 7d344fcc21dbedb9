"""Errors caused by user input."""

from pathlib import Path


class UserError(Exception):
    """Bad input: the message is one line that says what is wrong and what to do.

    The entry points print it and exit with status 2.
    """


def install_extra(extra: str) -> str:
    """The command that installs an extra, into a clone that is used as it stands as well."""
    clone = Path(__file__).parents[1]
    if (clone / "pyproject.toml").is_file():
        return f"pip install -e '{clone}[{extra}]'"
    return f"pip install 'wgan_jax[{extra}]'"
