"""The guard: a small process of its own that starts the embedded servers, watches and stops them.

It is run as a plain file (`python -I -S guard.py`), so it needs the standard library only and
starts in hundredths of a second. Its first line of input is a `Plan`; after that, its input is a
lifeline: the end of it means that the app has gone, SIGKILL included. The servers in turn ask the
kernel to be stopped should the guard go (PR_SET_PDEATHSIG). That signal comes when the *thread*
which forked them ends, and `preexec_fn` is unsafe among threads; hence a process with just one.
"""

import ctypes
import errno
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypedDict

LIFELINE = 0
TICK = 0.5  # seconds between looks at the parent and at the size of the logs
PATIENCE = (10.0, 5.0, 2.0)  # seconds given to each of a server's stop signals
SETUP_SECONDS = 120
LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1
NOT_PLAIN = "Not a plain file with this one name; look what it is, and remove it"


class Setup(TypedDict):
    """A command to succeed before the first start; what it makes only then gets its final name."""

    argv: list[str]
    made: str
    final: str


class Server(TypedDict):
    name: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    uid: int
    gid: int
    log: str
    stop: list[int]  # three signals, from polite to SIGKILL
    setup: Setup | None


class Plan(TypedDict):
    parent: int
    lock: int  # inherited by the servers too: the directory stays locked while anything may write in it
    log_limit: int  # bytes
    servers: list[Server]


class SetupError(Exception):
    """The set-up command of a server failed; the message holds its output."""


def main() -> None:
    line = sys.stdin.buffer.readline()
    if not line:
        return
    plan: Plan = json.loads(line)
    os.umask(0o077)
    wake = _catch_signals()
    running: list[subprocess.Popen[bytes]] = []
    try:
        for server in plan["servers"]:
            if setup := server["setup"]:
                _set_up(server, setup)
            running.append(_start(server, plan["lock"]))
        _note(plan, "running")
        _report({"pids": [process.pid for process in running]})
        _watch(plan, running, wake)
    except (OSError, SetupError, subprocess.SubprocessError) as error:
        _report({"error": str(error)})
    finally:
        _note(plan, "stopping")
        _stop(plan["servers"], running)


def _catch_signals() -> int:
    """A descriptor on which the numbers of arriving signals can be read.

    Handlers that do nothing, rather than SIG_IGN, because the servers would inherit the latter.
    """
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda _number, _frame: None)
    return readable


def _set_up(server: Server, setup: Setup) -> None:
    ran = subprocess.run(  # noqa: S603 - the app's own command
        setup["argv"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        errors="replace",
        timeout=SETUP_SECONDS,
        env=server["env"],
        cwd=server["cwd"],
        user=_other(server["uid"]),
        group=_other(server["gid"]),
        extra_groups=None if _other(server["uid"]) is None else [],
        preexec_fn=die_with_this_process(signal.SIGKILL),
    )
    if ran.returncode:
        output = f"{ran.stdout[-500:]}\n{ran.stderr[-1500:]}"
        raise SetupError(f"{setup['argv'][0]} failed (exit code {ran.returncode}):\n{output}")
    shutil.rmtree(setup["final"], ignore_errors=True)  # no cluster in there, the app has looked
    os.rename(setup["made"], setup["final"])  # noqa: PTH104 - pathlib costs start-up time


def _start(server: Server, lock: int) -> subprocess.Popen[bytes]:
    log = open_plain(server["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        return subprocess.Popen(  # noqa: S603 - the app's own command
            server["argv"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=server["env"],
            cwd=server["cwd"],
            user=_other(server["uid"]),
            group=_other(server["gid"]),
            extra_groups=None if _other(server["uid"]) is None else [],
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C goes to the whole foreground group: not to these
            preexec_fn=die_with_this_process(server["stop"][0]),  # noqa: PLW1509 - single-threaded
        )
    finally:
        os.close(log)


def _other(number: int) -> int | None:
    """The user or group to change to, or None: only root may, and need not to become root."""
    return number if os.geteuid() == 0 and number else None


def die_with_this_process(number: int) -> Callable[[], None] | None:
    """Runs in the child after it has changed its uid, since a change of uid clears the wish."""
    if not LINUX:
        return None
    parent = os.getpid()
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:  # it died before the wish was made
            os._exit(1)

    return ask


def _watch(plan: Plan, running: list[subprocess.Popen[bytes]], wake: int) -> None:
    """Returns when the app has gone, a server has ended, or SIGTERM has come.

    The parent's pid is looked at because a forked worker of the app may hold the lifeline open.
    """
    while all(process.poll() is None for process in running) and os.getppid() == plan["parent"]:
        readable, _, _ = select.select([LIFELINE, wake], [], [], TICK)
        if LIFELINE in readable:  # nothing is sent after the plan, so this is its end
            return
        if wake in readable and signal.SIGTERM in os.read(wake, 512):
            return
        for server in plan["servers"]:
            with suppress(OSError):  # a full disk must not stop the servers from here
                _cap(server["log"], plan["log_limit"])


def _cap(path: str, limit: int) -> None:
    """Moves a log that has outgrown its limit to `<log>.1`, so one server keeps two of `limit` bytes.

    It is copied and emptied: the server goes on writing to the same file, and O_APPEND puts that
    at the new start. A line written between the copy and the cut is lost.
    """
    if os.lstat(path).st_size <= limit:
        return
    with (
        os.fdopen(open_plain(path, os.O_RDWR), "rb+") as log,
        os.fdopen(make_anew(f"{path}.1"), "wb") as older,
    ):
        owner = os.fstat(log.fileno())
        os.fchown(older.fileno(), owner.st_uid, owner.st_gid)
        log.seek(-limit, os.SEEK_END)
        older.write(log.read(limit))
        log.truncate(0)


def open_plain(path: str, flags: int, directory: int | None = None) -> int:
    """Opens a plain file that has one name only. Raises OSError for anything else.

    This may be root in a directory of another user, who could put a link there (of either kind) to
    have one of root's files overwritten, read or given away.
    """
    try:
        file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, NOT_PLAIN, path) from None
        raise
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(file)
        raise OSError(errno.EINVAL, NOT_PLAIN, path)
    return file


def make_anew(path: str) -> int:
    """An empty private file, open for writing, in place of whatever file or link had that name."""
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - pathlib costs start-up time
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)


def _stop(servers: list[Server], running: list[subprocess.Popen[bytes]]) -> None:
    for attempt, patience in enumerate(PATIENCE):
        alive = [pair for pair in zip(servers, running, strict=False) if pair[1].poll() is None]
        for server, process in alive:
            process.send_signal(server["stop"][attempt])
        deadline = time.monotonic() + patience
        for _, process in alive:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))


def _note(plan: Plan, state: str) -> None:
    """Leaves word in the lock file for whoever finds the directory locked."""
    word = {"app": plan["parent"], "guard": os.getpid(), "state": state}
    with suppress(OSError):
        os.ftruncate(plan["lock"], 0)
        os.pwrite(plan["lock"], json.dumps(word).encode(), 0)


def _report(answer: dict[str, object]) -> None:
    with suppress(BrokenPipeError):  # an app that has gone is noticed by its lifeline
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
