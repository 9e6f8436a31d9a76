"""The image's HEALTHCHECK: asks the container's own process at /readyz. Which process that is, and so which port, the
command line of process 1 tells. It runs every few seconds in every container, so it imports next to nothing."""

import itertools
import os
import socket
import sys

SECONDS = 2.5
# Which variable holds the port of each command, and the port without it. Others have none, and count as healthy.
PORTS = {
    "api": ("OUTBOX_API_PORT", 8080),
    "gateway": ("OUTBOX_GATEWAY_PORT", 8081),
    "relay": ("OUTBOX_RELAY_PORT", 9101),
    "worker": ("OUTBOX_WORKER_PORT", 9102),
    "mailsink": ("OUTBOX_MAIL_PORT", 8025),
    "doubles": ("OUTBOX_PROVIDERS_PORT", 8026),
}


def port_of(words: list[str]) -> int:
    """Of a command line such as `/sbin/docker-init -- /opt/outbox/bin/python /opt/outbox/bin/outbox worker email`;
    0 where there is nothing to ask."""
    for program, command in itertools.pairwise(words):
        if program.rpartition("/")[2] == "outbox" and command in PORTS:
            name, usual = PORTS[command]
            return int(os.environ.get(name) or usual)
    return 0


def ask(port: int) -> str:
    """The status line and the rest of the answer."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer.decode("utf-8", "replace")


def check(port: int) -> int:
    """The exit code."""
    try:
        answer = ask(port)
    except OSError as error:
        print(f"no answer on port {port}: {error}")  # noqa: T201 - `docker inspect` shows it
        return 1
    print(answer.rpartition("\r\n\r\n")[2])  # noqa: T201
    return 0 if answer.partition("\r\n")[0].split(" ")[1:2] == ["200"] else 1


def main() -> int:
    with open("/proc/1/cmdline") as file:  # noqa: PTH123 - pathlib takes longer to import than all the rest
        port = port_of(file.read().split("\0"))
    return check(port) if port else 0


if __name__ == "__main__":
    sys.exit(main())
