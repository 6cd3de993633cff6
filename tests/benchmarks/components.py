"""``python -m tests.benchmarks.components ENVIRONMENT FOLDER``: what an installation consists of.

Writes a bill of materials (CycloneDX, JSON) into the folder, and prints what the core brings beside torch and Perceval.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: What everybody who wants this has already, or has to have.
GIVEN = ("torch", "perceval-quandela")
Found = Mapping[str, Distribution]


def installed(path: Iterable[str]) -> Found:
    """The packages in folders, by their names."""
    return {canonicalize_name(d.metadata["Name"]): d for d in distributions(path=list(path))}


def needed(names: Iterable[str], found: Found) -> set[str]:
    """Packages and what they need, without extras."""
    waiting, seen = [canonicalize_name(name) for name in names], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen and name in found:
            seen.add(name)
            wanted = map(Requirement, found[name].requires or [])
            here = (r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""}))
            waiting += [canonicalize_name(r.name) for r in here]
    return seen


def brought(found: Found, core: Iterable[str] = ("qpu_sdk",)) -> dict[str, int]:
    """Packages that come with the core and with neither torch nor Perceval, and their bytes without bytecode.

    :param core: the package, or what it asks for.
    """
    names = needed(core, found) - needed(GIVEN, found) - {"qpu-sdk"}
    return {name: size(found[name]) for name in sorted(names)}


def size(package: Distribution) -> int:
    """Bytes of a package's files, without bytecode."""
    files = (Path(str(file.locate())) for file in package.files or [] if file.suffix != ".pyc")
    return sum(path.stat().st_size for path in files if path.is_file())


def bill(environment: Path, found: Found) -> dict[str, Any]:
    """The components of an environment, each with its licence as its author wrote it."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", str(environment / "bin" / "python")]
    command += ["--pyproject", "pyproject.toml", "--mc-type", "library", "--output-reproducible", "-o", "-"]
    made: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    made["metadata"]["component"]["version"] = found["qpu-sdk"].version
    for component in made["components"]:
        name_licence(component, found)
    return made


def name_licence(component: dict[str, Any], found: Found) -> None:
    """Add what a package's metadata says where no licence of the standard's list was recognised."""
    package = found.get(canonicalize_name(component["name"]))
    text = None if package is None else package.metadata.get("License")
    if text and not component.get("licenses"):
        component["licenses"] = [{"license": {"name": text.splitlines()[0].strip(), "acknowledgement": "declared"}}]


def main(environment: Path, folder: Path) -> None:
    """Write the bill, print the figures."""
    found = installed(map(str, (environment / "lib").glob("python*/site-packages")))
    path = folder / f"qpu_sdk-{found['qpu-sdk'].version}.cdx.json"
    path.write_text(json.dumps(bill(environment, found), indent=1) + "\n", encoding="utf-8")
    sizes = brought(found)
    core = f"beside torch and Perceval {len(sizes)} packages, {sum(sizes.values()) / 1e6:.1f} MB: {', '.join(sizes)}"
    own = f"qpu_sdk itself {size(found['qpu-sdk']) / 1e6:.1f} MB"
    sys.stdout.write(f"{path}: {len(found)} packages\n{core}\n{own}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
