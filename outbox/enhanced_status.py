"""Enhanced status codes (RFC 3463): is it about the address, or about this mail, this server, this moment? Pure.

Only what is about the address may suppress it. A 5.7.1 says that our mail is not wanted from here; suppressing on it
would empty the list of recipients on the day a block list names our server.
"""

import re

CODE = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
# 5.0.0 says nothing but "never"; 5.4.4: the domain cannot be found.
NAMED = frozenset({(0, 0), (4, 4)})
# Of the codes about a mailbox (x.2.x): it is full, the message is too long for it, or a list expands badly.
ABOUT_THE_MAIL = frozenset({(2, 2), (2, 3), (2, 4)})
# Of the codes about addresses (x.1.x): those about the sender's.
ABOUT_THE_SENDER = frozenset({(1, 7), (1, 8), (1, 9)})


def find(text: str) -> str | None:
    """The first code in an answer."""
    found = CODE.search(text)
    return found[0] if found else None


def permanent(code: str) -> bool:
    return code.startswith("5.")


def no_such_address(code: str) -> bool:
    """Whether no mail will ever reach the address. Takes what `find` gives."""
    _, subject, detail = (int(part) for part in code.split("."))
    about = (subject, detail)
    listed = about in NAMED or (subject in {1, 2} and about not in ABOUT_THE_MAIL | ABOUT_THE_SENDER)
    return permanent(code) and listed
