"""Arguments as a query has them. Pure."""

from typing import Any


def query(**wanted: Any) -> dict[str, str]:
    """Without what is None; moments in ISO 8601."""
    return {name: text(value) for name, value in wanted.items() if value is not None}


def text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def if_match(version: int | None) -> dict[str, str]:
    """None: whatever is there."""
    return {"if-match": "*" if version is None else f'"{version}"'}
