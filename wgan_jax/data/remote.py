"""Remote folders by URL: `gs://bucket/folder`, or any other URL that fsspec supports."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wgan_jax.errors import UserError, install_extra
from wgan_jax.files import cache_folder


def is_remote(name: str) -> bool:
    """Return whether `name` is a URL rather than a local path."""
    return "://" in name


def require_local(path: str) -> None:
    """Raise UserError if a file or folder of data is given by its address."""
    if is_remote(path):
        name = redacted(path)
        how = f", e.g. with: gcloud storage cp -r {name} ." if path.startswith("gs://") else ""
        raise UserError(f"{name} is an address: copy it to this machine first{how}")


def expand_user(name: str) -> str:
    """Replace a leading `~` by the home folder; URLs are returned unchanged.

    Raises:
      UserError: there is no such home folder.
    """
    if not name.startswith("~"):
        return name
    expanded = os.path.expanduser(name)
    if expanded == name:
        raise UserError(f"there is no home folder for the ~ of {name}; give the full path")
    return expanded


def redacted(text: str) -> str:
    """Remove passwords and queries, which may hold secrets, from addresses in text.

    Example:
      >>> redacted("ftp://me:secret@host/a?token=1 and gs://bucket/b")
      'ftp://***@host/a?*** and gs://bucket/b'
    """
    text = re.sub(r"://(?:[^\s/@]*:\S*|[^\s/@]*)@", "://***@", text)
    return re.sub(r"(://[^\s?]*\?)\S+", r"\1***", text)


def require_no_password(name: str, value: str | None) -> None:
    """Raise ValueError if a field holds an address with a password, since configs are shared."""
    if value is not None and re.search(r"://[^\s/@]*:\S*@", value):
        raise ValueError(
            f"{name} holds a password, which would be saved in config.json: leave it out, and put "
            f"it where fsspec looks for it (its configuration files, or the environment)"
        )


def is_cached(url: str, part: str) -> bool:
    """Return whether there is a local copy of the folder `url/part`."""
    return (local_copy(url) / part).is_dir()


def cached(url: str, part: str) -> Path:
    """Copy the folder `url/part` to this machine, once; return the local folder of `url`.

    Raises:
      UserError: the folder does not exist or cannot be read.
    """
    local = local_copy(url)
    if local.resolve() not in (local / part).resolve().parents:
        raise UserError(f"{part} would be written outside of {local}")
    if not (local / part).is_dir():
        with reached(url) as (files, root):
            if not files.exists(f"{root}/{part}"):
                raise UserError(f"{redacted(url)} holds no {part}")
            unfinished = local / f"{part}.part"
            download(files, f"{root}/{part}", unfinished)
            unfinished.rename(local / part)
    return local


def download(files: Any, root: str, folder: Path) -> None:
    """Download all files below `root` into a folder, overwriting existing ones."""
    root = root.rstrip("/")
    for path in files.find(root):
        target = folder / path[len(root) :].lstrip("/")
        if folder.resolve() not in target.resolve().parents:
            raise UserError(f"{path} would be written outside of {folder}")
        target.parent.mkdir(parents=True, exist_ok=True)
        files.get_file(path, str(target))


@contextlib.contextmanager
def reached(url: str) -> Iterator[tuple[Any, str]]:
    """Open the file system of a URL and the path in it; turn its errors into UserErrors."""
    try:
        import fsspec

        files, root = fsspec.url_to_fs(url)
        yield files, root.rstrip("/")
    except UserError:
        raise
    except ImportError as error:
        name = redacted(url)
        raise UserError(f"{name} needs an extra; run: {install_extra('gcs')}") from error
    except Exception as error:
        reason = redacted(" ".join(str(error).split()))[:200]
        name = redacted(url)
        raise UserError(f"{name} cannot be used: {type(error).__name__}: {reason}") from error


def local_copy(url: str) -> Path:
    """Return the local folder for copies of what is at a URL."""
    return cache_folder() / short_name(url)


def short_name(url: str) -> str:
    """Return eight characters that identify a URL on this machine."""
    return hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:8]
