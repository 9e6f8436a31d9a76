"""Templates as files: FOLDER/<channel>/<name>[@<locale>]/subject.txt, body.txt, body.html."""

import re
from collections.abc import Iterator
from pathlib import Path

from db.templates import Draft, Published
from outbox.errors import SettingsError

FILES = {"subject": "subject.txt", "body_text": "body.txt", "body_html": "body.html"}
PLACE = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,127})(?:@([A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*))?")


def write(folder: Path, version: Published) -> Path:
    """Parts that are empty have no file, and lose the one they had."""
    place = folder / version.channel / (version.name + (f"@{version.locale}" if version.locale else ""))
    place.mkdir(parents=True, exist_ok=True)
    for part, file in FILES.items():
        if text := getattr(version, part):
            (place / file).write_text(text, encoding="utf-8", newline="")
        else:
            (place / file).unlink(missing_ok=True)
    return place


def read(folder: Path, channel: str | None) -> Iterator[Draft]:
    """In order of their names. Raises SettingsError for what is no template, with its path."""
    if not folder.is_dir():
        raise SettingsError(f"{folder} is no folder")
    for place in sorted(folder.glob(f"{channel or '*'}/*/")):
        if not (found := PLACE.fullmatch(place.name)):
            raise SettingsError(f"{place}: is not called like a template: welcome, or welcome@de")
        if odd := {file.name for file in place.iterdir()} - set(FILES.values()):
            raise SettingsError(
                f"{place}: {', '.join(sorted(odd))} is not one of {', '.join(FILES.values())}"
            )
        subject, text, html = (contents(place / file) for file in FILES.values())
        yield Draft(place.parent.name, found[1], found[2] or "", subject, text, html)


def contents(file: Path) -> str:
    try:
        text = file.read_bytes().decode() if file.exists() else ""
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: byte {error.start} is not UTF-8") from None
    if "\x00" in text:
        raise SettingsError(f"{file}: holds a NUL character")
    return text.rstrip("\r\n") if file.name == FILES["subject"] else text
