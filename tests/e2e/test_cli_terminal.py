"""What people see on a terminal of 80 columns."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.commands import SOURCES, Project, dataset

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7][0-9;]*m")
LONG_NAME = "adjusted_close_prices_of_a_great_many_symbols"


def on_terminal(project: Project, *arguments: str, no_colour: bool = False) -> str:
    """Run a command on a terminal of 80 columns; give all that it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    environment = {name: value for name, value in project.environment.items() if name not in ("NO_COLOR", "COLUMNS")}
    environment |= {"TERM": "xterm-256color"} | ({"NO_COLOR": "1"} if no_colour else {})
    process = subprocess.Popen(
        [sys.executable, "-m", "optaic.cli.app", *arguments],
        cwd=project.root,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # how Linux tells that the other side is closed
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait(timeout=60) == 0, written.decode()
    return written.decode()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    mine = Project(tmp_path_factory.mktemp("terminal"))
    mine.run("init")
    (mine.root / "sources.py").write_text(SOURCES)
    mine.declare(dataset(LONG_NAME, "prices") + dataset("waits", "waits"))
    mine.run("run", LONG_NAME)
    return mine


@pytest.mark.parametrize(
    "arguments", ["runs", f"show {LONG_NAME}@latest", "status", "doctor", "runs --sort rows_inserted"]
)
def test_nothing_is_wider_than_the_terminal(project: Project, arguments: str) -> None:
    text = _ESCAPE.sub("", on_terminal(project, *arguments.split()))
    # A path or an id may be longer than a line; it is left whole, so that it can be copied.
    wide = [
        line for line in text.replace("\r", "").split("\n") if len(line) > 80 and len(max(line.split(), key=len)) < 40
    ]
    assert not wide, text


def test_a_run_id_in_the_table_can_be_typed(project: Project) -> None:
    text = _ESCAPE.sub("", on_terminal(project, "runs"))
    shown = re.search(r"^([0-9a-f-]{13,}) ", text, re.MULTILINE)
    assert shown is not None, text
    assert LONG_NAME in project.run("show", shown[1]).stdout


def test_colour_only_where_it_is_wanted(project: Project) -> None:
    assert _COLOUR.search(on_terminal(project, "runs"))
    assert not _COLOUR.search(on_terminal(project, "runs", no_colour=True))
    assert not _COLOUR.search(on_terminal(project, "show", f"{LONG_NAME}@latest", no_colour=True))


def test_a_run_draws_its_progress_and_takes_it_away(project: Project) -> None:
    (project.root / "go").touch()
    text = on_terminal(project, "run", "waits", "--param", f"note={'a very long note ' * 8}")
    outcome = _ESCAPE.sub("", text).replace("\r", "")
    assert "waits.refresh running" in outcome
    assert "completed" in outcome
    assert "next: optaic show" in outcome
    assert Path(project.root / "started-1").exists()
