"""Command worker: execute what others submit."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import click

from optaic.cli import render

if TYPE_CHECKING:
    from types import FrameType

    from optaic.domain.run import Run


@click.command("worker")
@click.option("-n", "slots", type=click.IntRange(1, 256), default=1, show_default=True, help="How many runs at once.")
@click.option(
    "--until-idle",
    is_flag=True,
    help="Leave when nothing is left to do, nor due within a minute. What other workers run is waited for, however "
    "long it takes; what a died worker has left is taken up when its lease is over.",
)
def worker_command(*, slots: int, until_idle: bool) -> None:
    """Execute what others submit, and take up what died workers have left.

    Ctrl-C or SIGTERM: running work has its grace, then it is given back for another attempt; a second one leaves at
    once.
    """
    from optaic.client import connect
    from optaic.worker import work

    shutdown = threading.Event()
    signals = 0

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            # The leases of what still runs expire, and the next worker takes it up.
            os._exit(1)
        shutdown.set()

    with connect() as ledger:
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            _say(f"worker {os.getpid()} serves {slots} run{'' if slots == 1 else 's'} at once; Ctrl-C stops it")
            served = work(
                ledger.runtime.database,
                ledger.runtime.server,
                ledger.settings,
                slots=slots,
                shutdown=shutdown,
                until_idle=until_idle,
                on_event=_tell,
            )
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    _say(f"worker {os.getpid()} leaves after {served} attempt{'' if served == 1 else 's'}")


def _tell(event: str, run: Run) -> None:
    target = f"{run.instance}.{run.flow_kind}"
    waits = ""
    if run.status == "pending" and run.available_at > run.ledger_now:
        waits = f"waits until {run.available_at.astimezone():%H:%M:%S} for its next attempt"
    if event == "rescued":
        _say(f"rescued {run.id}: {waits or render.paint(run.status)}")
        return
    if event == "claimed":
        _say(f"{run.id}  {target}  attempt {run.attempt + 1}")
        return
    why = "" if run.reason is None or run.status == "completed" else f": {run.reason.message} [{run.reason.code}]"
    _say(f"{run.id}  {target}  {render.paint('given back' if run.status == 'pending' else run.status)}{why}")
    if waits:
        _say(f"{run.id}  {target}  {waits}")


def _say(text: str) -> None:
    render.say(f"{time.strftime('%H:%M:%S')}  {text}")
