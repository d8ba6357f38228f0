"""What the gates look at: the files of the repository."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "optaic"


@cache
def files() -> tuple[Path, ...]:
    """List the files that are part of the repository; in a folder that is no clone, everything that no tool made."""
    try:
        # A clone may belong to another user than the one who runs the tests, as in a container.
        listing = subprocess.run(
            ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        made = {"build", "dist", "__pycache__"}
        found = [path for path in ROOT.rglob("*") if path.is_file()]
        return tuple(
            path
            for path in found
            if not any(part.startswith(".") or part in made for part in path.relative_to(ROOT).parts[:-1])
        )
    return tuple(ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file())


def python_files(*folders: str) -> list[Path]:
    """List the Python files below these folders of the repository."""
    return [path for path in files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]


def place(path: Path, line: int) -> str:
    """Name a line as editors understand it."""
    return f"{path.relative_to(ROOT)}:{line}"
