"""What a database's URL says of the way there: `?pooler=transaction`, that it leads through a pooler. Pure."""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

PARAMETER, MODE = "pooler", "transaction"


def without_parameter(url: str) -> tuple[str, bool]:
    """The URL as the driver takes it, and whether it leads through a pooler. Raises ValueError."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    modes = [value for name, value in query if name == PARAMETER]
    if not modes:
        return url, False
    if modes != [MODE]:
        raise ValueError(f"{PARAMETER}={','.join(modes)} in the URL: only {PARAMETER}={MODE} is known")
    rest = [(name, value) for name, value in query if name != PARAMETER]
    return urlunsplit(parts._replace(query=urlencode(rest))), True
