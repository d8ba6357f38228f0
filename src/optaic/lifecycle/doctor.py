"""Doctor: look at everything that a project stands on, and say what to do about what is wrong."""

from __future__ import annotations

import datetime as dt
import platform
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from optaic.domain.kind import FlowKind
from optaic.errors import OptaicError
from optaic.settings import PROJECT_FILE, Settings

if TYPE_CHECKING:
    from optaic.domain.artifact import StoredObject
    from optaic.ledger.session import Database
    from optaic.storage.objects import ObjectStore

LOW_BYTES = 1_000_000_000
"""Less free space than this is a warning."""

FULL_BYTES = 50_000_000
"""Less free space than this is a problem."""

SKEW_SECONDS = 5.0
"""A larger difference between this machine's clock and the database's is a warning."""

LIBRARIES: tuple[str, ...] = (
    "sqlalchemy",
    "alembic",
    "polars",
    "obstore",
    "pydantic",
    "click",
    "rich",
    "pyyaml",
    "uuid-utils",
)
"""The distributions that every installation has."""


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    """Works, but somebody should know."""
    PROBLEM = "problem"
    """Something will not work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the report; `next_step` says what to do, unless all is well."""

    name: str
    level: Level
    message: str
    next_step: str | None = None


def examine(settings: Settings, *, now: dt.datetime, is_deep: bool = False) -> Iterator[Check]:
    """Check a project: one check after the other, none raises.

    Parameters
    ----------
    settings
        The project's.
    now
        This machine's clock (UTC).
    is_deep
        Read every object that runs refer to, whole, and compare its SHA-256 with the one recorded.

    Yields
    ------
    Check
        What was found; later checks are left out where an earlier one makes them impossible.
    """
    yield check_python()
    yield check_libraries(settings)
    yield _guard("project", lambda: _check_project(settings))
    yield from _check_space(settings)
    database = _open(settings)
    if isinstance(database, Check):
        yield database
    store = _open_store(settings)
    if isinstance(store, Check):
        yield store
    else:
        yield _guard("storage", lambda: _check_storage(store))
    if isinstance(database, Check):
        return
    try:
        schema = _guard("database", lambda: _check_database(database))
        yield schema
        if schema.level is Level.PROBLEM:
            return
        yield _guard("clock", lambda: _check_clock(database, now))
        yield _guard("leases", lambda: _check_leases(database))
        yield _guard("queue", lambda: _check_queue(database))
        if not isinstance(store, Check):
            yield _guard("orphans", lambda: _check_orphans(database, store, settings, now))
            yield _guard("references", lambda: _check_references(database, store, is_deep=is_deep))
    finally:
        database.close()


def _guard(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except OptaicError as error:
        return Check(name=name, level=Level.PROBLEM, message=error.message, next_step=error.next_step)


def check_python() -> Check:
    """Name the version of Python; pip refuses to install the product on one that is too old."""
    version = platform.python_version()
    return Check(name="python", level=Level.OK, message=f"Python {version} on {platform.system()}")


def check_libraries(settings: Settings | None = None) -> Check:
    """Check that the libraries are installed, and the driver of the database that the settings name."""
    from importlib.metadata import PackageNotFoundError, version

    wanted = list(LIBRARIES)
    if settings is not None and settings.database_url.startswith("postgres"):
        wanted.append("psycopg")
    found: list[str] = []
    missing: list[str] = []
    for name in wanted:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        extra = "[postgres]" if missing == ["psycopg"] else ""
        return Check(
            name="libraries",
            level=Level.PROBLEM,
            message=f"not installed: {', '.join(missing)}",
            next_step=f"pip install 'optaic{extra}'",
        )
    return Check(name="libraries", level=Level.OK, message=", ".join(found))


def _check_project(settings: Settings) -> Check:
    from optaic.project import read_project

    project = read_project(settings.project_root / PROJECT_FILE)
    count = len(project.instances)
    return Check(
        name="project",
        level=Level.OK,
        message=f"{PROJECT_FILE} is valid: project {project.name}, {count} instance{'' if count == 1 else 's'}",
    )


def _check_space(settings: Settings) -> Iterator[Check]:
    folder = settings.project_root
    if "://" not in settings.storage_url:
        folder = Path(settings.storage_url)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield Check(name="disk", level=Level.WARNING, message=f"free space of {folder} is unknown: {error.strerror}")
        return
    level = Level.PROBLEM if free < FULL_BYTES else Level.WARNING if free < LOW_BYTES else Level.OK
    yield Check(
        name="disk",
        level=level,
        message=f"{free / 1e9:,.1f} GB free at {folder}",
        next_step=None if level is Level.OK else "make room; `optaic gc` removes what no run refers to",
    )


def _open(settings: Settings) -> Database | Check:
    from optaic.ledger.session import Database

    try:
        return Database(settings.database_url)
    except OptaicError as error:
        return Check(name="database", level=Level.PROBLEM, message=error.message, next_step=error.next_step)
    except OSError as error:
        message = f"the folder of the ledger cannot be made: {error.strerror}"
        return Check(name="database", level=Level.PROBLEM, message=message, next_step="check its rights")


def _check_database(database: Database) -> Check:
    from sqlalchemy import text

    from optaic.ledger.session import HEAD, schema_revision

    revision = schema_revision(database.engine)
    where = database.engine.url.render_as_string(hide_password=True)
    if revision is None:
        return Check(
            name="database",
            level=Level.PROBLEM,
            message=f"{where} is reachable, but holds no ledger",
            next_step="optaic doctor --migrate",
        )
    if revision != HEAD:
        is_older = revision < HEAD
        return Check(
            name="database",
            level=Level.PROBLEM,
            message=f"{where} has schema revision {revision}; this version of optaic needs {HEAD}",
            next_step="make a backup, then: optaic doctor --migrate"
            if is_older
            else "install the newer version of optaic that made it",
        )
    if database.engine.dialect.name == "sqlite":
        with database.read() as tx:
            verdict = tx.conn.execute(text("PRAGMA quick_check(1)")).scalar_one()
        if verdict != "ok":
            return Check(
                name="database",
                level=Level.PROBLEM,
                message=f"{where} is damaged: {verdict}",
                next_step="restore it from a backup; the objects in the store are not affected",
            )
    return Check(name="database", level=Level.OK, message=f"{where}, schema revision {revision}")


def _check_clock(database: Database, now: dt.datetime) -> Check:
    from sqlalchemy import select

    from optaic.ledger.columns import db_now

    with database.read() as tx:
        theirs = tx.conn.execute(select(db_now())).scalar_one()
    skew = (now - theirs).total_seconds()
    if abs(skew) > SKEW_SECONDS:
        return Check(
            name="clock",
            level=Level.WARNING,
            message=f"this machine's clock is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} the database's",
            next_step="nothing in the ledger depends on it, but set the clock: times in logs will not match",
        )
    return Check(name="clock", level=Level.OK, message="agrees with the database's")


def _open_store(settings: Settings) -> ObjectStore | Check:
    from optaic.storage.objects import open_store

    try:
        return open_store(settings.storage_url)
    except OptaicError as error:
        return Check(name="storage", level=Level.PROBLEM, message=error.message, next_step=error.next_step)


def _check_storage(store: ObjectStore) -> Check:
    from optaic.domain.principal import DEFAULT_TENANT
    from optaic.errors import ObjectExistsError
    from optaic.lifecycle.gc import PROBES

    key = f"t{DEFAULT_TENANT}/{PROBES}/{uuid.uuid4()}"
    stored = store.put(key, b"optaic doctor")
    try:
        try:
            store.put(key, b"optaic doctor, again")
        except ObjectExistsError:
            is_create_only = True
        else:
            is_create_only = False
        store.get(stored)
    finally:
        store.delete(key)
    if not is_create_only:
        return Check(
            name="storage",
            level=Level.PROBLEM,
            message="the object store let a key be overwritten, so runs could lose their outputs",
            next_step="use a store that knows conditional writes (a local folder, S3)",
        )
    return Check(name="storage", level=Level.OK, message="written create-only, read, verified and deleted a probe")


def _check_leases(database: Database) -> Check:
    from optaic.lifecycle.rescue import find_lost

    lost = find_lost(database)
    if not lost:
        return Check(name="leases", level=Level.OK, message="no run is lost")
    names = ", ".join(str(run_id) for run_id, _, _ in lost[:3]) + (", ..." if len(lost) > 3 else "")
    return Check(
        name="leases",
        level=Level.WARNING,
        message=f"{len(lost)} run{'' if len(lost) == 1 else 's'} lost the worker: {names}",
        next_step="they are taken up again by: optaic worker --until-idle",
    )


def _check_queue(database: Database) -> Check:
    from optaic.ledger import search

    with database.read() as tx:
        counts = search.count_by_status(tx)
    text = ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items())) or "no runs yet"
    if counts.get("pending", 0) and not counts.get("running", 0):
        return Check(
            name="queue",
            level=Level.WARNING,
            message=f"{text}: runs wait, and none is running",
            next_step="start a worker: optaic worker",
        )
    return Check(name="queue", level=Level.OK, message=text)


def _check_orphans(database: Database, store: ObjectStore, settings: Settings, now: dt.datetime) -> Check:
    from optaic.lifecycle.gc import find_garbage

    found = find_garbage(database, store, grace=dt.timedelta(seconds=settings.gc_grace_seconds), now=now)
    if found.orphans:
        return Check(
            name="orphans",
            level=Level.WARNING,
            message=f"{len(found.orphans):,} of {found.objects:,} objects belong to no run "
            f"({found.size_bytes / 1e6:,.1f} MB)",
            next_step="remove them with: optaic gc",
        )
    kept = f"; {found.young_count:,} unreferenced but young" if found.young_count else ""
    return Check(name="orphans", level=Level.OK, message=f"{found.objects:,} objects, none to remove{kept}")


def _check_references(database: Database, store: ObjectStore, *, is_deep: bool) -> Check:
    from optaic.ledger import versions
    from optaic.ledger.current import current_segments

    with database.read() as tx:
        referenced, current = versions.referenced_objects(tx), current_segments(tx)
    # Listed after the references were read: what they name was written before.
    sizes = {item.key: item.size_bytes for item in store.list(f"t{database.tenant_id}/")}
    missing = sorted(referenced.keys() - sizes.keys())
    there = [stored for key, stored in sorted(referenced.items()) if key in sizes]
    changed = [stored.key for stored in there if _is_changed(store, stored, sizes[stored.key], is_deep=is_deep)]
    faults = [f"{len(keys):,} {verb}: {keys[0]}" for keys, verb in ((missing, "missing"), (changed, "changed")) if keys]
    if faults:
        is_past, steps = _remedies([*missing, *changed], current)
        return Check(
            name="references",
            level=Level.WARNING if is_past else Level.PROBLEM,
            message=f"of {len(referenced):,} objects that runs refer to, {'; '.join(faults)}",
            next_step=steps,
        )
    kept = "exist with the SHA-256" if is_deep else "exist with the size"
    return Check(
        name="references",
        level=Level.OK,
        message=f"all {len(referenced):,} objects that runs refer to {kept} that was recorded",
    )


def _remedies(keys: Sequence[str], current: Mapping[str, tuple[str, FlowKind]]) -> tuple[bool, str]:
    """Say what helps where objects are missing or changed, and whether only earlier versions of datasets read them."""
    steps = ["restore the store from a backup"]
    read = {current[key] for key in keys if key in current}
    named = ", ".join(f"optaic run {name} --mode full" for name, kind in sorted(read) if kind is FlowKind.REFRESH)
    if named:
        steps.append(
            "a dataset is made anew, upstream first, of what its source gives now, without earlier vintages: " + named
        )
    run_ids = sorted({key.split("/")[2] for key in keys if key.split("/")[1] == "runs"})
    if run_ids:
        steps.append(
            f"files of runs, models among them, are made again as those of a new run: optaic reproduce {run_ids[0]}"
            f"{f' (and {len(run_ids) - 1} more)' if run_ids[1:] else ''}; what is identical can be copied to its key"
        )
    is_past = not read and all(key.split("/")[1] == "datasets" for key in keys)
    if is_past:
        steps.append("without one, earlier versions of datasets can no longer be read; current ones are whole")
    return is_past, "; or ".join(steps[:2]) + "".join(f"; {step}" for step in steps[2:])


def _is_changed(store: ObjectStore, stored: StoredObject, size_bytes: int, *, is_deep: bool) -> bool:
    from optaic.errors import DigestMismatchError, ObjectMissingError

    if size_bytes != stored.size_bytes or not is_deep:
        return size_bytes != stored.size_bytes
    try:
        store.verify(stored)
    except (DigestMismatchError, ObjectMissingError):
        return True
    return False
