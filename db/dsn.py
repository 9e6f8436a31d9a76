"""What a server's URL says of the way there: where it leads, and `?pooler=transaction`, that it goes through a pooler.
Pure."""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

PARAMETER, MODE = "pooler", "transaction"
TELL_OF_IT = f"add ?{PARAMETER}={MODE} to DATABASE_URL, and set OUTBOX_LISTEN_DATABASE_URL to Postgres itself"


def place(url: str) -> str:
    """host:port/database of a URL, without its password."""
    return url.partition("://")[2].rpartition("@")[2].partition("?")[0]


def untold(error: BaseException) -> bool:
    """Whether this is PgBouncer's word for a URL that does not tell of it: the driver set up a session then."""
    return "unsupported startup parameter" in str(error)


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
