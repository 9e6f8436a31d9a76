"""Delivery status reports as real mail servers write them, made about any mail."""

from dataclasses import dataclass

PARTS = """\
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
To: {to}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="9B0A.1/mx.example.net"

--9B0A.1/mx.example.net
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--9B0A.1/mx.example.net
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
X-Postfix-Queue-ID: 9B0A
Arrival-Date: Tue, 24 Nov 2026 10:00:00 +0000 (UTC)

Final-Recipient: rfc822; {final}
Original-Recipient: rfc822;{original}
Action: {action}
Status: {status}
Remote-MTA: dns; mx.example.org
Diagnostic-Code: smtp; 550 {status} <{final}>: Recipient address rejected

--9B0A.1/mx.example.net
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

Return-Path: <{to}>
From: Shop <no-reply@shop.example>
To: {original}
Message-ID: {message_id}
Subject: Paid

--9B0A.1/mx.example.net--
"""


@dataclass(frozen=True, slots=True)
class Bounced:
    """`to`: the envelope sender that it comes back to."""

    to: str = "bounce@bounces.example.com"
    final: str = "ada@example.com"
    original: str = "ada@example.com"
    action: str = "failed"
    status: str = "5.1.1"
    message_id: str = "<x@y>"

    def raw(self) -> bytes:
        text = PARTS.format(
            to=self.to,
            final=self.final,
            original=self.original,
            action=self.action,
            status=self.status,
            message_id=self.message_id,
        )
        return text.encode("utf-8", "surrogateescape")
