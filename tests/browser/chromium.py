"""One headless Chromium for the whole run: Debian's, reached by the DevTools protocol."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEADLINE = 60.0
MISSING = "there is no Chromium here; `make chromium` installs Debian's"
QUIET = (
    *("--headless=new", "--no-first-run", "--no-default-browser-check", "--disable-background-networking"),
    *("--disable-component-update", "--disable-extensions", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--mute-audio", "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-port=0"),
    "--no-sandbox",  # it refuses to run as root with one; it opens nothing but pages of these tests
)


def find() -> str:
    """Raises FileNotFoundError, which says how to get one."""
    # The binary itself before Debian's script around it, which would stay between us and the process.
    for name in ("/usr/lib/chromium/chromium", "chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise FileNotFoundError(MISSING)


@contextmanager
def running() -> Iterator[str]:
    """The URL of its DevTools."""
    with tempfile.TemporaryDirectory(prefix="outbox-chromium-", ignore_cleanup_errors=True) as profile:
        command = [find(), *QUIET, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield f"http://127.0.0.1:{port_of(process, Path(profile) / 'DevToolsActivePort')}"
        finally:
            process.terminate()
            process.wait(DEADLINE)


def port_of(process: subprocess.Popen[bytes], file: Path) -> int:
    deadline = time.monotonic() + DEADLINE
    while not (file.exists() and (lines := file.read_text().splitlines())):
        if process.poll() is not None:
            raise RuntimeError(f"Chromium ended at once, with status {process.returncode}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"Chromium has not opened its DevTools after {DEADLINE:g} s")
        time.sleep(0.02)
    return int(lines[0])
