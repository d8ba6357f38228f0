"""What must not stand in the repository, and what the lock must hold."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.repository import ROOT, files, place

# Where packages come from is each machine's own affair; where somebody keeps their files, too.
_REGISTRY = re.compile(r"https?://(?:registry|files|proxy|deb|security|pypi|index|mirrors?)\.")
_HOME = re.compile(r"(?<![\w.])(?:/home/[a-z]|/Users/[A-Za-z]|/root[/])")
_ENTRY = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;]+)", re.MULTILINE)
_LOCK = (ROOT / "requirements.lock").read_text()


def test_no_registry_and_no_home_folder_is_named() -> None:
    found: list[str] = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            place(path, number)
            for number, line in enumerate(text.splitlines(), start=1)
            if _REGISTRY.search(line) or _HOME.search(line)
        ]
    assert not found


def test_lock_names_no_address() -> None:
    assert "://" not in _LOCK
    assert not re.search(r"^\s*-(?!-hash=)", _LOCK, re.MULTILINE), "an option other than a hash"


def test_lock_holds_a_hash_for_each_package() -> None:
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", _LOCK)[1:]
    assert entries
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_lock_holds_every_package_of_the_metadata_in_its_range() -> None:
    locked: dict[str, list[str]] = {}
    for name, version in _ENTRY.findall(_LOCK):
        locked.setdefault(canonicalize_name(name), []).append(version)
    wrong = [
        str(requirement)
        for requirement in _requirements()
        if not any(
            requirement.specifier.contains(version) for version in locked.get(canonicalize_name(requirement.name), [])
        )
    ]
    assert not wrong, "run: make lock"


def _requirements() -> list[Requirement]:
    metadata: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = metadata["project"]
    constraints = [line for line in (ROOT / "constraints.in").read_text().splitlines() if line and line[0] != "#"]
    lines: list[str] = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
        *metadata["dependency-groups"]["dev"],
        *constraints,
    ]
    return [requirement for requirement in map(Requirement, lines) if requirement.name != project["name"]]
