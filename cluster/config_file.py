"""Makes command-line arguments from a TOML file, and the text of such a file from settings."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .checking import nearest
from .errors import ConfigError


def file_arguments(path: str | Path, known: Sequence[str]) -> list[str]:
    """The file's keys and values as command-line arguments; ``known`` are the keys that it may have.

    A key may have dashes or underscores. Raises ``ConfigError`` for a file that cannot be read, is not TOML, has a key that
    is not known (naming the nearest that is), or a value that is no number, text or true/false.
    """
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the config file {path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the config file {path} is not TOML: {error}") from error
    names = {key: key.replace("-", "_") for key in values}
    unknown = [f"there is no setting {key!r}: {nearest(name, known)}" for key, name in names.items() if name not in known]
    if unknown:
        raise ConfigError(f"{path}: {'; '.join(unknown)}")
    arguments = []
    for key, value in values.items():
        flag = "--" + names[key].replace("_", "-")
        if isinstance(value, bool):
            arguments += [flag] if value else []  # none of these is on by itself
        elif isinstance(value, int | float | str):
            arguments.append(f"{flag}={value}")
        else:
            raise ConfigError(f"{path}: {key} is a {type(value).__name__}; it must be a number, a text or true/false")
    return arguments


def as_toml(settings: Mapping[str, Any]) -> str:
    """The settings as the text of a file, by name; those that are ``None`` or ``False`` are left out.

    >>> print(as_toml({"steps": 20, "model": "digits", "best": None}), end="")
    model = "digits"
    steps = 20
    """
    return "".join(f"{name} = {_value(value)}\n" for name, value in sorted(settings.items()) if _is_set(value))


def _is_set(value: Any) -> bool:
    return value is not None and value is not False


def _value(value: Any) -> str:
    # JSON's texts, numbers and truth values are TOML's, but for one character that TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
