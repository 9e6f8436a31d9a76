"""Secrets that are handed over as files, as Docker and systemd do it: NAME_FILE says where the value of NAME is.

What is in no variable is in no `docker inspect`, and no child process inherits it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from outbox.errors import SettingsError

SUFFIX = "_FILE"


def held(names: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Of these variables those that are given as files, by name. Raises SettingsError with all that cannot be read."""
    found: dict[str, str] = {}
    wrong: list[str] = []
    for name in names:
        try:
            value = held_value(name, environment)
        except SettingsError as error:
            wrong.append(str(error))
        else:
            if value is not None:
                found[name] = value
    if wrong:
        raise SettingsError("\n".join(wrong))
    return found


def held_value(name: str, environment: Mapping[str, str]) -> str | None:
    """What the file of one variable holds, without the line's end; None where there is none. Raises SettingsError where
    the variable itself is set, too: which of them is meant cannot be known."""
    if not (path := environment.get(name + SUFFIX)):
        return None
    if environment.get(name):
        raise SettingsError(f"{name} and {name}{SUFFIX} exclude each other: set one of them")
    try:
        value = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{name}{SUFFIX}={path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{name}{SUFFIX}={path}: is not text") from None
    if not value:
        raise SettingsError(f"{name}{SUFFIX}={path}: is empty")
    return value
