"""The worker: claims runs, keeps so many of them supervised, rescues, and stops gracefully."""

from __future__ import annotations

import datetime as dt
import logging
import os
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from sqlalchemy import exists, or_, select

from optaic.domain.run import Run
from optaic.engines.process import ForkServer
from optaic.engines.supervise import supervise
from optaic.errors import LedgerError
from optaic.ledger import runs
from optaic.ledger.columns import db_now
from optaic.ledger.session import Database
from optaic.ledger.tables import runs as runs_table
from optaic.lifecycle.claim import Claim, claim, has_work
from optaic.lifecycle.propagate import sweep
from optaic.lifecycle.publish import BATCH, relay
from optaic.lifecycle.rescue import rescue
from optaic.lifecycle.trigger import fire_all
from optaic.settings import Settings

_log = logging.getLogger("optaic.worker")

RELAY_SECONDS = 1.0
"""How often a worker numbers new activities, and looks at clocks and triggers."""

SOON = dt.timedelta(seconds=60)
"""How long `until_idle` waits for the next attempt of a run, so that a worker executes what it has rescued itself."""


def worker_name() -> str:
    """Name this process for leases: host, process id, and a random part, because process ids come again."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


class Patience:
    """For how long somebody who watches work of his own bears with a database that does not answer: for one lease.

    After that another worker may have the work, so that nobody needs to wait here for its end.
    """

    def __init__(self, settings: Settings) -> None:
        self._seconds = settings.lease_seconds
        self._answered_at = time.monotonic()

    def answered(self) -> None:
        """Note that the database has answered."""
        self._answered_at = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether it has not answered for longer than a lease."""
        return time.monotonic() - self._answered_at > self._seconds


def work(
    database: Database,
    server: ForkServer,
    settings: Settings,
    *,
    slots: int = 1,
    shutdown: threading.Event | None = None,
    until_idle: bool = False,
    plan_id: uuid.UUID | None = None,
    on_event: Callable[[str, Run], None] | None = None,
) -> int:
    """Serve the local engine's runs until told to stop.

    Parameters
    ----------
    database
        The ledger.
    server
        Starts processes.
    settings
        Lease, graces, storage and project.
    slots
        How many runs at once.
    shutdown
        When set, nothing more is claimed, running work has its grace and is then released. It is looked at, never
        waited for: a signal handler may set it, and would wait forever for the lock that a wait in its thread holds.
    until_idle
        Return when no worker runs anything, nothing can be claimed, and no next attempt is due within `SOON`. What a
        worker that died has left is waited for until its lease has expired, and then taken up.
    plan_id
        Claim only runs that this plan needs; None for all.
    on_event
        Told `claimed`, `ended` and `rescued`, with the run; called from several threads.

    Returns
    -------
    int
        How many attempts were supervised.
    """
    stop = shutdown or threading.Event()
    name = worker_name()
    server.warm()
    upkeep = _Upkeep(max(settings.lease_seconds / 3, 0.1), on_event)
    served = 0
    running: set[Future[None]] = set()

    def serve(held: Claim) -> None:
        if on_event is not None:
            on_event("claimed", held.run)
        ended = supervise(database, server, held, settings, shutdown=stop)
        if on_event is not None:
            on_event("ended", ended)

    with ThreadPoolExecutor(max_workers=slots, thread_name_prefix="optaic-run") as pool:
        while not stop.is_set():
            held, is_idle = None, False
            try:
                upkeep.do(database)
                if len(running) < slots and has_work(database, plan_id=plan_id):
                    held = claim(database, worker=name, lease=settings.lease, plan_id=plan_id)
                if until_idle and held is None and not running:
                    is_idle = not has_work(database) and not _will_have_work(database)
            except LedgerError:
                time.sleep(1.0)  # the database is away; the leases decide what happens meanwhile
            if held is not None:
                served += 1
                running.add(pool.submit(serve, held))
            elif is_idle:
                break
            else:
                running = _settle(running, settings.poll_seconds)
    return served


def _will_have_work(database: Database) -> bool:
    """Look whether another worker runs something, or a run waits that may be claimed within `SOON`.

    Whatever is running may end in work: it is given back, its worker dies, a plan goes on after it. Both are asked in
    one statement, so that no run is missed that passes from the one to the other between two looks.
    """
    with database.read() as tx:
        mine = (runs_table.c.tenant_id == tx.tenant_id, runs_table.c.engine == "local")
        is_running = exists().where(*mine, runs.IS_RUNNING)
        is_due = exists().where(*mine, runs.IS_PENDING, runs_table.c.available_at <= db_now(SOON.total_seconds()))
        return tx.conn.execute(select(or_(is_running, is_due))).scalar_one()


class _Upkeep:
    """What a worker does for the ledger beside running, now and then.

    It rescues, numbers activities, announces what time has made stale, and sets off what waits for its upstreams.
    """

    def __init__(self, rescue_seconds: float, on_event: Callable[[str, Run], None] | None) -> None:
        self._rescue_seconds = rescue_seconds
        self._on_event = on_event
        self._next_rescue = 0.0
        self._next_relay = 0.0

    def do(self, database: Database) -> None:
        """Do what is due."""
        now = time.monotonic()
        if now >= self._next_rescue:
            self._next_rescue = now + self._rescue_seconds
            rescued = rescue(database)
            if rescued and self._on_event is not None:
                with database.read() as tx:
                    found = runs.many(tx, rescued)
                for run in found:
                    self._on_event("rescued", run)
        if now >= self._next_relay:
            self._next_relay = now + RELAY_SECONDS
            sweep(database)
            fire_all(database)
            while relay(database) == BATCH:
                pass


def _settle(running: set[Future[None]], seconds: float) -> set[Future[None]]:
    """Wait until a run ends or the time is over; give those that still run."""
    if not running:
        time.sleep(seconds)
        return running
    done, going = wait(running, timeout=seconds, return_when=FIRST_COMPLETED)
    for future in done:
        error = future.exception()
        if error is not None and not isinstance(error, LedgerError):
            # One run's supervisor failed; the others go on, and the run is rescued when its lease has expired.
            _log.error("the supervisor of a run failed; its run is rescued", exc_info=error)
    return going
