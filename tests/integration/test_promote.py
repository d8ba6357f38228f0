"""Promote keeps the project file as it is written, apart from what it adds."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from optaic.errors import ConflictError
from tests.research import Research, open_research

TEXT = """project: research
instances:
  prices: {kind: dataset, definition: "sources:prices", known_at: {lag: "close + 2h"}}
  look:
    kind: experiment
    expression: "CS_RANK(-TS_DELTA(close, 5))"
    inputs: {close: "prices[close]"}
"""


@pytest.fixture
def research(tmp_path: Path, sqlite_url: str) -> Iterator[Research]:
    with open_research(tmp_path / "project", sqlite_url) as opened:
        yield opened


def promote(research: Research, text: bytes) -> bytes:
    path = research.root / "optaic.yaml"
    path.write_bytes(text)
    research.ledger.apply()
    research.ledger.promote("look", "signal")
    return path.read_bytes()


def test_a_file_with_windows_line_ends_keeps_them(research: Research) -> None:
    text = TEXT.replace("\n", "\r\n").encode()
    after = promote(research, text)
    assert after.startswith(text.rstrip())
    assert after.count(b"\n") == after.count(b"\r\n")


def test_a_comment_stays_above_what_it_is_about(research: Research) -> None:
    body = TEXT.removeprefix("project: research\n")
    after = promote(research, f"{body}\n# The name of it all.\nproject: research\n".encode())
    assert b"\n# The name of it all.\nproject: research\n" in after


def test_a_linked_project_file_stays_a_link(research: Research) -> None:
    path, real = research.root / "optaic.yaml", research.root / "shared.yaml"
    path.unlink()
    real.write_text(TEXT)
    path.symlink_to("shared.yaml")
    promote(research, TEXT.encode())
    assert path.is_symlink()
    assert "signal:" in real.read_text()


def test_the_file_keeps_its_mode(research: Research) -> None:
    path = research.root / "optaic.yaml"
    path.chmod(0o660)
    promote(research, TEXT.encode())
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_read_only_file_is_refused_and_stays_as_it_is(research: Research) -> None:
    path = research.root / "optaic.yaml"
    path.write_text(TEXT)
    path.chmod(0o444)
    research.ledger.apply()
    with pytest.raises(ConflictError, match="may not be written"):
        research.ledger.promote("look", "signal")
    assert path.read_text() == TEXT
