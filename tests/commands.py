"""The command line as its users have it: real processes in a folder of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PATIENCE_SECONDS = 60.0
"""How long a test waits for what must come; a machine that builds other things meanwhile is slow."""

SOURCES = '''
"""A researcher's own functions."""

import datetime as dt
import os
import time
from pathlib import Path

import polars as pl


def rows(days, shift=0.0):
    first = dt.date(2024, 1, 1)
    return pl.DataFrame(
        [
            {"date": first + dt.timedelta(days=day), "symbol": symbol, "close": 100.0 + day + shift}
            for day in range(days)
            for symbol in ("AAA", "BBB")
        ]
    )


def prices(ctx, *, days: int = 3, shift: float = 0.0):
    ctx.log.info("asked for %d days", days)
    ctx.progress(50, "half of it")
    ctx.log_metric("loss", 0.5, step=1)
    ctx.log_metric("loss", 0.25, step=2)
    return rows(days, shift)


def waits(ctx, *, note: str = "waiting"):
    """Says where it is, and goes on when a file is there."""
    ctx.log.info("started")
    ctx.progress(25, note)
    Path(f"started-{ctx.attempt}").write_text(str(os.getpid()))
    while not Path("go").exists():
        ctx.raise_if_cancelled()
        time.sleep(0.02)
    ctx.log.info("going on")
    return rows(1)


def raises(ctx):
    raise ValueError("the vendor sent no prices")


def returns_nothing(ctx):
    return None


def wrong_schema(ctx):
    return pl.DataFrame({"day": [1], "price": [2.0]})


def hangs(ctx):
    while True:
        time.sleep(0.02)
'''


class Project:
    """A folder with a project, and the command line to use it with."""

    def __init__(self, root: Path, environment: Mapping[str, str] | None = None) -> None:
        self.root = root
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OPTAIC_")}
        self.environment = {**kept, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1", **(environment or {})}

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command and do not wait; what it says is kept, unless it is sent elsewhere."""
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(
            [sys.executable, "-m", "optaic.cli.app", *arguments],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            text=True,
            **options,
        )

    def run(
        self, *arguments: str, code: int = 0, patience: float = PATIENCE_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; its exit code must be `code`, and it must not show a stack trace."""
        process = self.start(*arguments)
        try:
            stdout, stderr = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            raise AssertionError(f"optaic {' '.join(arguments)} hangs\n{stdout}\n{stderr}") from None
        assert process.returncode == code, f"exit code {process.returncode}, not {code}\n{stdout}\n{stderr}"
        assert "Traceback" not in stderr, stderr
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run a command with --json and read its one document."""
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def declare(self, text: str, *, apply: bool = True) -> None:
        """Write the instances of the project file, and apply it."""
        (self.root / "optaic.yaml").write_text(f"project: mine\ninstances:\n{text}", encoding="utf-8")
        if apply:
            self.run("apply")

    def last(self, target: str) -> Any:
        """Read the last run of a target."""
        return self.json("show", f"{target}@latest")


def dataset(name: str, function: str, *more: str) -> str:
    """Write one dataset of a project file; `more` are further lines of it."""
    lines = [
        f"  {name}:",
        "    kind: dataset",
        f"    definition: sources:{function}",
        *(f"    {line}" for line in more),
    ]
    return "\n".join(lines) + "\n"


def wait_until(is_true: Callable[[], object], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Look again and again until something is true."""
    give_up_at = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < give_up_at, f"waited {seconds:g} s for this: {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def send(process: subprocess.Popen[str], number: signal.Signals) -> tuple[str, str]:
    """Signal a command and wait for its end; give what it wrote to stdout and stderr."""
    process.send_signal(number)
    return process.communicate(timeout=PATIENCE_SECONDS)
