"""Where things are: beside the tests, and in the package, which may be installed elsewhere."""

from __future__ import annotations

from pathlib import Path

import qpu_sdk

#: What the repository and the sdist have at their top.
ROOT = Path(__file__).parents[1]
#: The package that is tested: that of the repository, or an installed wheel.
PACKAGE = Path(qpu_sdk.__file__).parent
#: Its modules, without the examples that a wheel brings along.
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if PACKAGE / "examples" not in path.parents)
