"""Parses command lines into configs: a config file, `--FIELD NAME`, `--FIELD.SUBFIELD VALUE`."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import runpy
from pathlib import Path
from typing import Any

from wgan_jax.cli.bundled import bundled_config, bundled_names
from wgan_jax.data.remote import expand_user
from wgan_jax.errors import UserError, one_line, suggest
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.config_io import (
    FORMER_NAMES,
    alternatives,
    field_types,
    from_dict,
    node_kinds,
    to_dict,
)
from wgan_jax.experiment.workdir import read_config


def parse(args: list[str], config: Config, *, prog: str, about: str) -> Config:
    """Apply the flags in `args` to `config`.

    `--penalty NAME` first replaces a node by another kind with its defaults
    (`none` removes an optional node). An absent node with only one kind is
    created by its own flags, such as `--sweep.seeds 8`. All other flags are
    parsed by tyro, typed by the fields.

    Raises:
      UserError: an unknown flag or kind (with the nearest known name), or a value
        of the wrong type or out of range.
    """
    import tyro

    config, rest = _choose([_renamed(word) for word in args], config)
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            parsed = tyro.cli(
                Config,
                default=config,
                args=rest,
                prog=prog,
                description=f"{about}\n\n{_kinds_help()}",
                config=(tyro.conf.AvoidSubcommands,),
            )
    except ValueError as error:
        raise UserError(str(error)) from error
    except SystemExit as exit:
        if not exit.code:
            print(out.getvalue(), end="")
            raise
        raise UserError(_flatten(err.getvalue() or out.getvalue())) from None
    return from_dict(to_dict(parsed))


def load(path: str | Path) -> Config:
    """Load the config from a Python file's `get_config()`, or from a config.json.

    A Python config is code and is executed; a config.json is data. A colon separates the
    argument of `get_config`, as in `configs/ring.py:wgan_gp`. The bundled examples can be
    given by name: `digits`, `ring:wgan_gp`.

    Raises:
      UserError: the file or its `get_config` is missing, or `get_config` raises.
    """
    name, argument = split_argument(expand_user(str(path)))
    path = Path(name)
    if path.suffix == ".json":
        return read_config(path, follow=True)
    if path.is_dir():
        raise UserError(f"{path} is a folder: give a Python file, or the config.json in it")
    if not path.is_file():
        raise UserError(f"there is no config file {path}{_neighbors(path)}")
    try:
        names = runpy.run_path(str(path))
        if "get_config" not in names:
            raise UserError(f"{path} does not define get_config()")
        config = names["get_config"](*argument)
    except (Exception, SystemExit) as error:
        if isinstance(error, UserError):
            raise
        reason = f"{type(error).__name__}: {one_line(error, 1_000)}"
        raise UserError(f"{path} cannot be used: {reason}") from error
    if not isinstance(config, Config):
        raise UserError(
            f"get_config() of {path} returns {type(config).__name__}, not "
            f"wgan_jax.experiment.config.Config"
        )
    return _as_from_json(config, path)


def split_argument(path: str) -> tuple[str, list[str]]:
    """Split `FILE.py:ARGUMENT` or `NAME:ARGUMENT` into the file and the argument, if any."""
    if Path(path).is_file():
        return path, []
    name, _, rest = path.partition(":")
    if bundled := bundled_config(name):
        return str(bundled), [rest] if rest else []
    file, colon, argument = path.rpartition(".py:")
    return (f"{file}.py", [argument]) if colon else (path, [])


def _as_from_json(config: Config, path: Path) -> Config:
    """Return the config as config.json will store it; refuse one that it cannot store."""
    try:
        read = from_dict(json.loads(json.dumps(to_dict(config))))
    except (UserError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"get_config() of {path} has a part that config.json cannot store: {error} (to train "
            f"with parts of your own, use the library: wgan_jax.gan and scan_steps)"
        ) from error
    for own, known in zip(_classes(config), _classes(read), strict=True):
        if own is not known:
            raise UserError(
                f"get_config() of {path} has a class {own.__name__} of its own, which config.json "
                f"cannot store: to train with parts of your own, use the library, wgan_jax.gan "
                f"and scan_steps"
            )
    return read


def _classes(node: Any) -> list[type]:
    if not dataclasses.is_dataclass(node):
        return []
    inner = (getattr(node, name) for name in field_types(type(node)))
    return [type(node), *(cls for value in inner for cls in _classes(value))]


def option(args: list[str], name: str) -> tuple[str | None, list[str]]:
    """Return the value of `--name VALUE` or `--name=VALUE` (the last one), and the other args."""
    values, rest = repeated_option(args, name)
    return (values[-1] if values else None), rest


def repeated_option(args: list[str], name: str) -> tuple[list[str], list[str]]:
    """Return all values of `--name VALUE` or `--name=VALUE` in order, and the other args."""
    values, rest, words = [], [], iter(args)
    for word in words:
        if word == f"--{name}":
            value = next(words, None)
            if value is None or value.startswith("--"):
                raise UserError(f"--{name} needs a value")
            values.append(value)
        elif word.startswith(f"--{name}="):
            values.append(word.split("=", 1)[1])
        else:
            rest.append(word)
    return values, rest


def switch(args: list[str], name: str) -> tuple[bool, list[str]]:
    """Return whether `--name` is given, and the other args."""
    return f"--{name}" in args, [word for word in args if word != f"--{name}"]


def path_option(args: list[str], name: str) -> tuple[str | None, list[str]]:
    """Like `option`, for a path or URL: expand `~` and refuse an empty value.

    Raises:
      UserError: the value is empty, or there is no such home folder.
    """
    value, args = option(args, name)
    if value is not None and not value.strip():
        raise UserError(f"--{name} needs a value")
    return (None if value is None else expand_user(value)), args


def kinds(field: str) -> dict[str, type | None]:
    """Return the kinds of node that a field of Config offers, by their names as flag values."""
    kind = field_types(Config)[field]
    nodes: dict[str, type | None] = {_kebab(node.__name__): node for node in node_kinds(kind)}
    return nodes | ({"none": None} if nodes and type(None) in alternatives(kind) else {})


def _renamed(word: str) -> str:
    """Replace a former field name in a flag by the current one."""
    field, rest = re.fullmatch(r"(?s)(--\w*)?(.*)", word).groups(default="")  # type: ignore[union-attr]
    return f"--{FORMER_NAMES[field[2:]]}{rest}" if field[2:] in FORMER_NAMES else word


def _choose(args: list[str], config: Config) -> tuple[Config, list[str]]:
    for field in field_types(Config):
        offered = kinds(field)
        if not offered:
            continue
        name, args = option(args, field.replace("_", "-"))
        if name is None and "_" in field:
            name, args = option(args, field)
        if name is None and getattr(config, field) is None:
            name = _implied(field, offered, args)
        if name is None:
            continue
        known = {plain(kind): kind for kind in offered}
        name = FORMER_NAMES.get(name, name)
        if plain(name) not in known:
            flag = field.replace("_", "-")
            raise UserError(f"--{flag} {name} is unknown; {suggest(name, list(offered))}")
        node = offered[known[plain(name)]]
        replacement: dict[str, Any] = {field: node() if node else None}
        try:
            config = dataclasses.replace(config, **replacement)
        except ValueError as error:
            raise UserError(str(error)) from error
    return config, args


def _implied(field: str, offered: dict[str, type | None], args: list[str]) -> str | None:
    """Return the only kind of an absent node if flags of its fields are given."""
    named = [name for name, node in offered.items() if node]
    prefixes = tuple(f"--{name}." for name in (field, field.replace("_", "-")))
    has_flags = any(word.startswith(prefixes) for word in args)
    return named[0] if has_flags and len(named) == 1 else None


def _kinds_help() -> str:
    rows = []
    for field in field_types(Config):
        offered = kinds(field)
        if len(offered) > 1:
            rows.append(f"--{field.replace('_', '-')} {{{','.join(offered)}}}")
    return "Choose the kind of a part; its own flags apply to its defaults:\n" + "\n".join(rows)


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


def plain(name: str) -> str:
    """Return a name without capitals, dashes and underscores, which tell no kinds apart."""
    return name.lower().replace("-", "").replace("_", "")


def _flatten(message: str) -> str:
    """Put tyro's framed message on one line, without its heading, frame and rules."""
    sections = [""]
    for line in re.sub(r"\x1b\[[0-9;]*m", "", message).splitlines():
        text = line.strip("│╭╮╰╯ \t")
        if text.startswith("─") or re.fullmatch("-{3,}", text):  # the frame, or a rule in it
            sections += [text.strip("─- "), ""]
        else:
            sections[-1] += f" {text}"
    texts = [" ".join(section.split()) for section in sections if section.strip()]
    return "; ".join(texts[1:] or texts)


def _neighbors(path: Path) -> str:
    """Suggest files in the same folder, or bundled examples, for a file that does not exist."""
    if path.suffix:
        known = sorted(str(p) for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        if path.name == f"{path.stem}.py" and path.stem in bundled_names():
            known = [path.stem]
    else:
        known = bundled_names()
    return f"; {suggest(str(path), known)}" if known else ""
