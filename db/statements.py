"""Named SQL: `db/sql/<file>.sql` holds `-- name: x` blocks, each with a comment that says why it is so."""

import re
from pathlib import Path

HERE = Path(__file__).parent / "sql"
NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def load(file: str) -> dict[str, str]:
    """The statements of one file of `db/sql` by name. Raises ValueError where a name stands twice."""
    return parse(HERE / f"{file}.sql")


def parse(path: Path) -> dict[str, str]:
    """Those of any file. Raises ValueError as `load` does."""
    _, *parts = NAME.split(path.read_text(encoding="utf-8"))
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{path.name}: a statement's name stands twice in {names}")
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}
