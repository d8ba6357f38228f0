"""Commands as whole processes, with a ledger of 10,000 runs: `optaic --help`, `optaic runs`, and others that only read.

Each is started as a person starts it, from the shell to the exit of its process, on SQLite in a project's folder. The
commands take turns, so that what disturbs the machine disturbs all of them; some rounds before the first are not
counted. Beside the time on the wall stands the CPU time of the process, which other work on the machine changes least,
and that of a Python that imports nothing.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import _ledgers
from sqlalchemy import text

from optaic.bootstrap import open_runtime
from optaic.client import Ledger
from optaic.ledger.session import migrate
from optaic.settings import PROJECT_FILE, read_settings

PROJECT = """
project: bench
instances:
  flow:
    kind: dataset
    definition: measured:nothing
    key: [date, symbol]
"""
SOURCE = "def nothing(ctx):\n    return None\n"
COMMANDS = (
    ("--help", 0.3),
    ("runs", 1.5),
    ("runs --json", None),
    ("status", None),
    ("show flow@latest", None),
)
"""What is measured, with the seconds that it may take, where a goal is set."""

WARM_UP = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--runs", type=int, default=10_000, help="runs in the ledger")
    given = parser.parse_args()
    _ledgers.say_conditions(f"commands as whole processes, {given.runs:,} runs in the ledger; {given.rounds} rounds")
    with _ledgers.temporary_folder() as root:
        _make_project(root, given.runs)
        optaic = [sys.executable, "-m", "optaic.cli.app"]
        commands = {f"optaic {words}": ([*optaic, *words.split()], goal) for words, goal in COMMANDS}
        commands["python -c pass"] = ([sys.executable, "-c", "pass"], None)
        walls: dict[str, list[float]] = {name: [] for name in commands}
        cpus: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(WARM_UP + given.rounds):
            for name, (command, _) in commands.items():
                wall, cpu = _seconds(command, root)
                if number >= WARM_UP:
                    walls[name].append(wall)
                    cpus[name].append(cpu)
    print(f"  {'seconds':24} {'least':>7} {'median':>7} {'most':>7} {'CPU':>7}")
    for name, (_, goal) in commands.items():
        wall = walls[name]
        print(f"  {name:24} {min(wall):7.3f} {statistics.median(wall):7.3f} {max(wall):7.3f} "
              f"{statistics.median(cpus[name]):7.3f}{f'   goal {goal}' if goal else ''}")  # fmt: skip


def _make_project(root: Path, runs: int) -> None:
    """Make a project with a flow and its runs: one that is submitted, and copies of it made inside the database."""
    (root / "measured.py").write_text(SOURCE)
    (root / PROJECT_FILE).write_text(PROJECT)
    settings = read_settings(root, {})
    migrate(settings.database_url)
    with closing(Ledger(open_runtime(settings))) as ledger:
        ledger.apply()
        handle = ledger.submit("flow")
        ledger.cancel(handle.id)
        with ledger.runtime.database.write() as tx:
            made = {"id", "submitted_at"}
            rows = tx.conn.execute(text("SELECT name FROM pragma_table_info('runs')")).scalars()
            kept = ", ".join(f'"{name}"' for name in rows if name not in made)
            tx.conn.execute(
                text(
                    "WITH RECURSIVE counter(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < :count) "
                    f"INSERT INTO runs (id, submitted_at, {kept}) "
                    "SELECT lower(hex(randomblob(16))), "
                    f"strftime('%Y-%m-%d %H:%M:%f000', 'now', '-' || n || ' seconds'), {kept} "
                    "FROM counter CROSS JOIN (SELECT * FROM runs LIMIT 1) AS one"
                ),
                {"count": runs - 1},
            )


def _seconds(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a command to its end, and give its seconds on the wall and of the CPU, those of its children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(_ledgers.ROOT / "src")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr.decode()}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
