"""Named SQL: `db/sql/<file>.sql` holds `-- name: x` blocks, each with a comment that says why it is so."""

import re
from pathlib import Path

HERE = Path(__file__).parent / "sql"
NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def load(file: str) -> dict[str, str]:
    """The statements of one file by name. Raises ValueError where a name stands twice."""
    _, *parts = NAME.split((HERE / f"{file}.sql").read_text(encoding="utf-8"))
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{file}.sql: a statement's name stands twice in {names}")
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}
