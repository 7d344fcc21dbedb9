"""Folders in a bucket, by URL: `gs://bucket/folder`, or any other that fsspec knows."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wgan_jax.errors import UserError


def is_remote(name: str) -> bool:
    """Whether it is a URL and no path of this machine."""
    return "://" in name


def cached(url: str, part: str) -> Path:
    """A copy of the folder `url/part` on this machine, made once; returns that of `url`.

    Raises:
      UserError: it is not there, or cannot be read.
    """
    local = Path.home() / ".cache" / "wgan_jax" / short_name(url)
    if not (local / part).is_dir():
        with reached(url) as (files, root):
            if not files.exists(f"{root}/{part}"):
                raise UserError(f"{url} holds no {part}")
            unfinished = local / f"{part}.part"
            download(files, f"{root}/{part}", unfinished)
            unfinished.rename(local / part)
    return local


def download(files: Any, root: str, folder: Path) -> None:
    """All files below `root` into a folder; those that are there already are overwritten."""
    root = root.rstrip("/")
    for path in files.find(root):
        target = folder / path[len(root) :].lstrip("/")
        if folder.resolve() not in target.resolve().parents:
            raise UserError(f"{path} would be written outside of {folder}")
        target.parent.mkdir(parents=True, exist_ok=True)
        files.get_file(path, str(target))


@contextlib.contextmanager
def reached(url: str) -> Iterator[tuple[Any, str]]:
    """The file system of a URL and the path in it; what goes wrong there becomes a UserError."""
    try:
        import fsspec

        files, root = fsspec.url_to_fs(url)
        yield files, root.rstrip("/")
    except UserError:
        raise
    except ImportError as error:
        raise UserError(f"{url} needs an extra; run: pip install 'wgan_jax[gcs]'") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{url} cannot be used: {type(error).__name__}: {reason}") from error


def short_name(url: str) -> str:
    """Eight letters that name a URL on this machine."""
    return hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:8]
