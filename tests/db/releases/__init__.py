"""What a release asked of the schema: `python -m tests.db.releases` freezes today's statements as that of the newest
revision. A file here is never changed, and goes when nobody upgrades from its release any more."""

import importlib
import pkgutil
import re
from pathlib import Path

from alembic.script import ScriptDirectory

import db
from db import migrations
from db.statements import parse

HERE = Path(__file__).parent
# Parts that are put together when they are asked for: no statements by themselves.
PARTS = {
    "browse__of_key",
    "browse__of_user",
    "browse__page",
    "dead__filter",
    "erasure__erasure",
    "rebase__open",
}


def releases() -> list[str]:
    """Their revisions, oldest first."""
    return sorted(path.stem for path in HERE.glob("*.sql"))


def statements(release: str) -> dict[str, str]:
    """By module and name, as relay__look."""
    return parse(HERE / f"{release}.sql")


def present() -> dict[str, str]:
    """Of the code as it is: every statement, whole, as it is sent."""
    found: dict[str, str] = {}
    for module in pkgutil.iter_modules(db.__path__):
        known = getattr(importlib.import_module(f"db.{module.name}"), "SQL", {})
        found |= {f"{module.name}__{name}": text for name, text in known.items()}
    return {name: text for name, text in found.items() if name not in PARTS}


def freeze() -> Path:
    head = ScriptDirectory.from_config(migrations.config()).get_current_head()
    path = HERE / f"{head}.sql"
    bare = {name: re.sub(r"^--.*\n", "", text, flags=re.MULTILINE) for name, text in present().items()}
    path.write_text("".join(f"-- name: {name}\n{text}\n\n" for name, text in bare.items()), encoding="utf-8")
    return path
