"""A Postfix of our own: Debian's package, in a folder under /tmp, on a port of loopback; as root, without systemd."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from outbox.local.ports import LOOPBACK, any_free

MAIN = """\
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
maillog_file = {home}/mail.log
maillog_file_prefixes = {home}
myhostname = mx.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access inline:{{ {{ refused.test = 550 5.1.1 no such user }} }}, permit
smtpd_peername_lookup = no
recipient_delimiter = +
transport_maps = inline:{{ {transports} }}
default_transport = error:5.1.2 no such domain
bounced_destination_recipient_limit = 1
# A mail that waits is told of at once, and tried again every second.
delay_warning_time = 1s
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 1s
"""
MASTER = """\
{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
# As docs/deliverability.md has it.
bounced unix - n n - - pipe
  flags=D user=nobody argv={home}/hand-in
"""
HAND_IN = """\
#!/bin/sh
curl --silent --show-error --fail --max-time 30 --output /dev/null \\
  --header "Authorization: Bearer {token}" --header "Content-Type: message/rfc822" \\
  --data-binary @- {api_url}/v1/bounces || exit 75
"""


@dataclass(frozen=True, slots=True)
class Postfix:
    url: str
    home: Path


def configure(home: Path, port: int, hops: Mapping[str, int], api_url: str, token: str) -> None:
    """`hops`: for each domain, the port of the next mail server. Mail to bounces.test is handed in to the API."""
    transports = [f"{{ {domain} = smtp:[127.0.0.1]:{hop} }}" for domain, hop in hops.items()]
    (home / "etc").mkdir()
    main = MAIN.format(home=home, transports=", ".join([*transports, "{ bounces.test = bounced: }"]))
    (home / "etc" / "main.cf").write_text(main)
    (home / "etc" / "master.cf").write_text(MASTER.format(home=home, port=port))
    script = home / "hand-in"
    script.write_text(HAND_IN.format(token=token, api_url=api_url))
    script.chmod(0o755)
    (home / "queue").mkdir()
    (home / "data").mkdir()
    shutil.chown(home / "data", "postfix")
    home.chmod(0o755)


@asynccontextmanager
async def postfix(hops: Mapping[str, int], api_url: str, token: str) -> AsyncIterator[Postfix]:
    """Running. A test that fails shows its log."""
    home = Path(tempfile.mkdtemp(prefix="outbox-postfix-"))
    port = any_free()
    configure(home, port, hops, api_url, token)
    await command(home, "start")
    try:
        yield Postfix(f"smtp://{LOOPBACK}:{port}", home)
    finally:
        await command(home, "stop")
        print((home / "mail.log").read_text(errors="replace"))
        shutil.rmtree(home)


async def command(home: Path, word: str) -> None:
    child = await asyncio.create_subprocess_exec(
        *("postfix", "-c", str(home / "etc"), word),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await child.communicate()
    assert child.returncode == 0, f"postfix {word}: {said.decode()}"
