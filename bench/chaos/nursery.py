"""The nursery: a small process that starts all others of a run, and takes them with it when it goes.

It has imported the services once, so that a relay killed a moment ago is back after a fork: a process of its own,
running the product's own command, without a second of Python imports. Orders come as lines of JSON on its input;
it tells which process it started and which have ended. The end of its input ends them all.
"""

import ctypes
import gc
import json
import os
import selectors
import signal
import sys
from contextlib import suppress
from typing import Any

# Imported here once, for every fork: what the commands import only when they run.
import outbox.api.main
import outbox.local.mailsink  # noqa: F401
import relay.main  # noqa: F401
import workers.main  # noqa: F401
from outbox.cli import processes

PR_SET_PDEATHSIG = 1
SERVICES = {
    "relay": processes.relay,
    "api": processes.api,
    "worker": processes.worker,
    "mailsink": processes.mailsink,
}
libc = ctypes.CDLL(None)


def main() -> None:
    children: set[int] = set()
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, whose end is ours
    look = selectors.DefaultSelector()
    look.register(0, selectors.EVENT_READ)
    look.register(wake, selectors.EVENT_READ)
    gc.freeze()
    rest = b""
    while True:
        ready = {key.fd for key, _ in look.select()}
        if wake in ready:
            with suppress(BlockingIOError):
                os.read(wake, 4096)
            reap(children)
        if 0 in ready:
            if not (read := os.read(0, 65_536)):
                break
            *orders, rest = (rest + read).split(b"\n")
            for order in orders:
                children.add(pid := start(json.loads(order)))
                tell(started=pid)
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    reap(children, 0)


def tell(**words: int) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


def reap(children: set[int], options: int = os.WNOHANG) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, options)
            if not pid:
                return
            children.discard(pid)
            if options:
                tell(ended=pid, status=status)


def start(order: dict[str, Any]) -> int:
    parent = os.getpid()
    if pid := os.fork():
        return pid
    try:
        settle_in(order, parent)
        if argv := order.get("argv"):
            os.execve(argv[0], argv, order["env"])
        os.environ.update(order["env"])
        SERVICES[order["service"]](**order["options"])
    except BaseException as error:  # a child must never return into the nursery's loop
        code = error.code if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
        sys.stderr.write(f"{code}\n" if code else "")
    finally:
        os._exit(0)


def settle_in(order: dict[str, Any], parent: int) -> None:
    """What a fork must put right: signals, descriptors, user, and whom it dies with."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.closerange(3, 256)
    if order.get("uid"):
        os.setgroups([])
        os.setgid(order["gid"])
        os.setuid(order["uid"])
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # after setuid, which would undo it
    if os.getppid() != parent:
        os._exit(1)
    if "cwd" in order:
        os.chdir(order["cwd"])


if __name__ == "__main__":
    main()
