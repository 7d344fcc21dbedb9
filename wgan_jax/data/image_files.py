"""Image files in a folder, zip or tar: listed by name and read one by one, never extracted."""

from __future__ import annotations

import errno
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

from wgan_jax.errors import UserError
from wgan_jax.files import kind_of

_SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
)
# Magic numbers of image formats, checked only for files without a suffix.
_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"})
# Magic numbers of archives, also of those too damaged for Python's own test.
_ARCHIVES = {b"PK": "zip", b"BZh": "tar", b"\xfd7zXZ": "tar", b"\x1f\x8b": "tar"}
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_LARGEST = 2**28  # bytes of one image file
_MOST_UNPACKED, _MOST_RATIO = 2**30, 1_000  # bytes, or times the size of the archive


class ImageFile(NamedTuple):
    """Name of a file, with `/` as separator, and a stamp that changes with its content."""

    name: str
    stamp: tuple[int, ...] = ()


class Found(NamedTuple):
    """Image files sorted by name, and the number of skipped files of each kind."""

    files: list[ImageFile]
    passed_over: dict[str, int]


class Source(Protocol):
    """A folder or archive of image files.

    Attributes:
      path: of the folder or archive, for messages.
      in_order: whether files are best read by one thread, in the order of `contents`.
    """

    path: str
    in_order: bool

    def stamp(self) -> Iterable[Any]:
        """Return JSON values that change when any of the files does."""

    def find(self) -> Found:
        """List all files, once."""

    def contents(self, names: list[str]) -> Iterator[tuple[str, bytes | OSError]]:
        """Yield name and content, or the read error, of files in the cheapest order."""


def open_source(path: str) -> Directory | ZipArchive | TarArchive:
    """Open a folder, a zip or a tar.

    Raises:
      UserError: there is no such folder or archive.
    """
    place = Path(path)
    try:
        mode = os.stat(place).st_mode
        if stat.S_ISDIR(mode):
            return Directory(path)
        if not stat.S_ISREG(mode):
            raise UserError(f"{path} is {kind_of(mode)}, not a folder, zip or tar")
        if zipfile.is_zipfile(place):
            return ZipArchive(path)
        if tarfile.is_tarfile(place):
            return TarArchive(path)
        with open(place, "rb") as file:
            start = file.read(8)
    except FileNotFoundError as error:
        raise UserError(f"there is no folder, zip or tar of images at {path}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    for magic, kind in _ARCHIVES.items():
        if start.startswith(magic):
            raise UserError(f"{path} starts like a {kind} but cannot be read: it is damaged")
    raise UserError(f"{path} is a file, but neither a zip nor a tar of images")


class Directory:
    """Files in a folder and its subfolders, including those behind links."""

    in_order = False

    def __init__(self, path: str):
        self.path = path
        self._found: Found | None = None
        self._folders: dict[str, int] = {}

    def close(self) -> None:
        pass

    def stamp(self) -> Iterable[Any]:
        return ([file.name, *file.stamp] for file in self.find().files)

    def find(self) -> Found:
        if self._found is None:
            files: list[ImageFile] = []
            passed_over = Counter[str]()
            self._walk(self.path, "", set(), files, passed_over)
            self._found = Found(sorted(files), dict(passed_over))
        return self._found

    def is_current(self) -> bool:
        """Return whether the listing is still complete, as far as a quick check can show."""
        try:
            changed = (os.stat(name).st_mtime_ns for name in self._folders)
            return self._found is not None and list(changed) == list(self._folders.values())
        except OSError:
            return False

    def _walk(
        self, folder: str, prefix: str, seen: set[Any], files: list[ImageFile], passed: Counter
    ) -> None:
        try:
            info = os.stat(folder)
            if (info.st_dev, info.st_ino) in seen:  # a link back, or a second path to it
                return
            seen.add((info.st_dev, info.st_ino))
            self._folders[folder] = info.st_mtime_ns
            with os.scandir(folder) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
            for entry in entries:
                name = prefix + entry.name
                if _is_hidden(entry.name):
                    passed[_kind(name)] += _is(entry.is_file)
                elif _is(entry.is_dir):
                    self._walk(entry.path, f"{name}/", seen, files, passed)
                elif (_is(entry.is_file) or entry.is_symlink()) and self._is_image(
                    entry
                ):  # a dangling link is reported when it is read
                    files.append(ImageFile(name, _stamp(entry)))
                else:
                    passed[_kind(name)] += 1
        except OSError as error:
            where = error.filename or folder
            raise UserError(f"{where} cannot be read: {error.strerror}") from error

    @staticmethod
    def _is_image(entry: os.DirEntry[str]) -> bool:
        suffix = PurePosixPath(entry.name).suffix
        if suffix or not _is(entry.is_file):
            return suffix.lower() in _SUFFIXES
        with open(entry.path, "rb") as file:
            return _starts_as_image(file.read(12))

    def read(self, name: str) -> bytes:
        descriptor = os.open(f"{self.path}/{name}", _FLAGS)  # fast for many small files
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise OSError(errno.EINVAL, f"it is {kind_of(info.st_mode)}", name)
            if info.st_size > _LARGEST:
                raise OSError(errno.EFBIG, f"it has {info.st_size:,} bytes", name)
            return os.read(descriptor, info.st_size + 1)
        finally:
            os.close(descriptor)

    def contents(self, names: list[str]) -> Iterator[tuple[str, bytes | OSError]]:
        for name in names:
            try:
                yield name, self.read(name)
            except OSError as error:
                yield name, error


_UNREADABLE = (
    *(OSError, EOFError, ValueError, NotImplementedError, RuntimeError, KeyError),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
)


class _Archive:
    in_order = True

    def __init__(self, path: str):
        self.path = path
        self._file: Any = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def is_current(self) -> bool:
        return False  # it is closed

    def stamp(self) -> Iterable[Any]:
        info = os.stat(self.path)
        return [info.st_size, info.st_mtime_ns, info.st_ctime_ns]

    def find(self) -> Found:
        members, passed_over, unpacked = {}, Counter[str](), 0
        most = max(_MOST_UNPACKED, _MOST_RATIO * os.path.getsize(self.path))
        for name, size, kind, member in self._members():
            plain = self._plain(name)
            unpacked += size
            if unpacked > most:
                raise UserError(
                    f"{self.path} unpacks to more than {most:,} bytes, too many for images: it is "
                    f"not read"
                )
            parts = PurePosixPath(plain).parts
            if kind == "folder":
                continue
            if any(map(_is_hidden, parts)) or not self._is_image(plain, kind, member):
                passed_over[_kind(plain) if kind == "file" else kind] += 1
            elif size > _LARGEST:
                raise UserError(f"{plain} in {self.path} has {size:,} bytes, too many for an image")
            else:
                members[plain] = member
        shared = _shared_folder(list(members))
        self._by_name = {name[len(shared) :]: member for name, member in members.items()}
        return Found([ImageFile(name) for name in sorted(self._by_name)], dict(passed_over))

    def _is_image(self, name: str, kind: str, member: Any) -> bool:
        suffix = PurePosixPath(name).suffix
        if suffix or kind != "file":
            return kind == "file" and suffix.lower() in _SUFFIXES
        try:
            return _starts_as_image(self._content(member, most=12))
        except _UNREADABLE:
            return False

    def _plain(self, name: str) -> str:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or name.startswith(("/", "\\")) or (parts and ":" in parts[0][1:2]):
            raise UserError(
                f"{self.path} has a member {name[:200]!r} that leads out of it: it is not read"
            )
        return "/".join(part for part in parts if part != ".")

    def _members(self) -> Iterator[tuple[str, int, str, Any]]:
        """Yield name, size, kind (`file`, `folder`, ...) and the argument of `_content`."""
        raise NotImplementedError

    def _content(self, member: Any, most: int | None = None) -> bytes:
        """Return the content of a file, or its first `most` bytes."""
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        try:
            return self._content(self._by_name[name])
        except _UNREADABLE as error:
            raise OSError(None, " ".join(str(error).split()) or "it is damaged", name) from error

    def contents(self, names: list[str]) -> Iterator[tuple[str, bytes | OSError]]:
        wanted = set(names)
        for name in self._by_name:  # in the order of the archive
            if name in wanted:
                try:
                    yield name, self.read(name)
                except OSError as error:
                    yield name, error


class ZipArchive(_Archive):
    """Files in a zip."""

    def _members(self) -> Iterator[tuple[str, int, str, Any]]:
        try:
            self._file = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise UserError(f"{self.path} is a damaged zip: {error}") from error
        for info in self._file.infolist():
            if info.flag_bits & 1:
                raise UserError(f"{self.path} is encrypted: unpack it and give the folder")
            mode = stat.S_IFMT(info.external_attr >> 16)
            is_file = mode in (0, stat.S_IFREG)
            kind = "folder" if info.is_dir() else "file" if is_file else kind_of(mode)
            yield info.filename, info.file_size, kind, info

    def _content(self, member: zipfile.ZipInfo, most: int | None = None) -> bytes:
        with self._file.open(member) as file:
            return file.read(most or member.file_size + 1)  # no more than its header claims


class TarArchive(_Archive):
    """Files in a tar, compressed or not; a hard link stands for its target."""

    def _members(self) -> Iterator[tuple[str, int, str, Any]]:
        files: dict[str, tarfile.TarInfo] = {}
        try:
            self._file = tarfile.open(self.path)  # noqa: SIM115  read later
            for info in self._file:
                file = files.get(info.linkname) if info.islnk() else info
                if file is not None and file.isfile():
                    files[info.name] = file
                    yield info.name, file.size, "file", file
                else:
                    yield info.name, 0, "folder" if info.isdir() else _kind_in_tar(info), info
            # After a damaged header, Python takes the members before it as the complete archive.
            self._file.fileobj.seek(self._file.offset)
            if self._file.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise EOFError(f"there is no end after {len(files):,} files")
        except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise UserError(f"{self.path} is a damaged tar: {error}") from error

    def _content(self, member: tarfile.TarInfo, most: int | None = None) -> bytes:
        file = self._file.extractfile(member)
        data = b"" if file is None else file.read(most)
        if most is None and len(data) != member.size:
            raise EOFError("it is cut short")
        return data


def _kind_in_tar(info: tarfile.TarInfo) -> str:
    return "a link" if info.issym() or info.islnk() else "a device or a pipe"


def _starts_as_image(start: bytes) -> bool:
    return start.startswith(_STARTS) or (start[:4], start[8:]) == (b"RIFF", b"WEBP")


def _is(what: Callable[[], bool]) -> bool:
    """Return `what()`; False for a link that leads back to itself."""
    try:
        return what()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def _shared_folder(names: list[str]) -> str:
    """Return the common parent folders of an archive, which are not classes: `pets/` for
    `pets/cat/1.png` and `pets/dog/2.png`."""
    shared = ""
    while names:
        tops = {name[len(shared) :].partition("/")[0] for name in names}
        rest = [name[len(shared) :].partition("/")[2] for name in names]
        if len(tops) > 1 or not all("/" in name for name in rest):
            break
        shared += f"{tops.pop()}/"
    return shared


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def _kind(name: str) -> str:
    """Return the kind of a skipped file: its name if that is well known, or its suffix."""
    path = PurePosixPath(name)
    if _is_hidden(path.name) and not path.suffix:
        return path.name if path.name in (".DS_Store",) else "hidden"
    if path.name.lower() in _SYSTEM_FILES:
        return path.name
    return "hidden" if any(map(_is_hidden, path.parts)) else path.suffix.lower() or "without suffix"


def _stamp(entry: os.DirEntry[str]) -> tuple[int, ...]:
    try:
        info = entry.stat()
    except OSError:  # a dangling link
        return ()
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns
