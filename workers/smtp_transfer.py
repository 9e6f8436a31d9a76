"""One mail transaction: MAIL, RCPT, DATA, and how far it came (RFC 5321 §3.3)."""

import re
from dataclasses import dataclass

from aiosmtplib import SMTP

from workers.message import Letter

# RFC 3461 §4: what cannot stand in a parameter as it is.
NOT_XTEXT = re.compile(r"[^!-*,-<>-~]")


@dataclass(slots=True)
class Transfer:
    letter: Letter
    content: bytes = b""
    recipient_named: bool = False
    content_left: bool = False

    async def run(self, client: SMTP) -> None:
        """Where bounces are taken in, the server is asked for reports that name the address as we wrote it, and that
        send no content back (RFC 3461 §4)."""
        reports = self.letter.bounce is not None and client.supports_extension("dsn")
        await client.mail(self.letter.envelope_sender, options=["RET=HDRS"] if reports else [])
        self.recipient_named = True
        original = f"ORCPT=rfc822;{xtext(self.letter.recipient)}"
        await client.rcpt(
            self.letter.recipient, options=["NOTIFY=FAILURE,DELAY", original] if reports else []
        )
        self.content_left = True
        await client.data(self.content)


def xtext(text: str) -> str:
    return NOT_XTEXT.sub(lambda found: f"+{ord(found[0]):02X}", text)
