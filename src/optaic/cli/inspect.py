"""Commands that look at runs: runs, show, logs."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from optaic.cli import render
from optaic.cli.alert import print_alerts
from optaic.cli.chart import print_curves
from optaic.cli.compare import print_comparison
from optaic.cli.figure import print_metrics
from optaic.cli.files import print_artifacts
from optaic.cli.options import json_option
from optaic.cli.render import Heading

if TYPE_CHECKING:
    from sqlalchemy import Row

    from optaic.client import Ledger
    from optaic.handle import RunHandle

FOLLOW_SECONDS = 0.2
"""How often `logs -f` looks for new lines."""

MAX_LIMIT = 10_000


@click.command("runs")
@click.option("--type", "run_type", metavar="TYPE", help="Only this type: PipelineRun, ExperimentRun, ...")
@click.option("--status", metavar="STATUS", help="Only this status: pending, running, completed, failed, cancelled.")
@click.option("--instance", metavar="TARGET", help="Only of this instance, or instance.flow_kind.")
@click.option("--standing", metavar="STANDING", help="Only official runs, or only trials.")
@click.option("--where", metavar="CONDITION", help="On metrics: 'rows_inserted > 0 and duration_seconds < 60'.")
@click.option(
    "--sort",
    metavar="METRIC",
    help="By a metric: completed runs, unless --status says otherwise; or submitted_at, started_at, ended_at. -METRIC "
    "descending.",
)
@click.option("--limit", type=int, default=20, show_default=True, help="At most so many.")
@click.option("--after", metavar="CURSOR", help="Go on after the end of an earlier list, in the default order.")
@json_option
def runs_command(
    *,
    run_type: str | None,
    status: str | None,
    instance: str | None,
    standing: str | None,
    where: str | None,
    sort: str | None,
    limit: int,
    after: str | None,
    as_json: bool,
) -> None:
    """List runs, newest first."""
    from optaic.client import connect
    from optaic.errors import InvalidInputError

    if after is not None and sort is not None:
        raise InvalidInputError(
            "--after goes on in the default order, so it cannot be used with --sort", next_step="raise --limit instead"
        )
    with connect() as ledger:
        found = ledger.runs(
            type=run_type,
            status=status,
            instance=instance,
            standing=standing,
            where=where,
            sort=sort,
            # One more than is shown tells whether there are more.
            limit=limit + 1 if 1 <= limit < MAX_LIMIT else limit,
            before=None if after is None else _cursor(after),
        )
        if not found and instance is not None and not ledger.runs(instance=instance, limit=1):
            _check_instance(ledger, instance)
        _tell_unknown_metrics(ledger, where, sort)
    shown = found[:limit]
    following = str(shown[-1].id) if len(found) > limit and sort is None else None
    if as_json:
        render.print_items([run.to_json() for run in shown], following=following)
        return
    if not shown:
        is_filtered = any((run_type, status, instance, standing, where, after, _metric_of(sort)))
        render.say("no run fits" if is_filtered else "there are no runs yet")
        if not is_filtered:
            render.tell_next("optaic run TARGET", "optaic status")
        return
    print_runs(shown, extra=_metric_of(sort))
    if len(found) > limit:
        render.say()
        render.tell_next(f"optaic runs --after {following}" if following else f"optaic runs --limit {limit * 5}  ...")


def _check_instance(ledger: Ledger, target: str) -> None:
    """Say which instance was perhaps meant; that it has no run at all, and is declared, is no mistake."""
    from optaic.ledger import catalog

    with ledger.runtime.database.read() as tx:
        catalog.find_flow(tx, target)


def _tell_unknown_metrics(ledger: Ledger, where: str | None, sort: str | None) -> None:
    """Say on stderr that no run has a metric: what is misspelt would look like what no run fits."""
    if where is None and sort is None:
        return
    from optaic.ledger.search import parse_where
    from optaic.reading import unknown_metrics

    names = [name for name, _, _ in parse_where(where or "")]
    metric = _metric_of(sort)
    for name in unknown_metrics(ledger.runtime, names if metric is None else [*names, metric]):
        click.echo(f"note: no run has a metric {name!r}", err=True)


def _cursor(text: str) -> uuid.UUID:
    from optaic.errors import InvalidInputError

    try:
        return uuid.UUID(text)
    except ValueError:
        raise InvalidInputError(
            f"{text!r} is not a cursor", next_step="use `next` of `optaic runs --json`: the id of the last run shown"
        ) from None


def _metric_of(sort: str | None) -> str | None:
    key = None if sort is None else sort.removeprefix("-")
    return None if key in ("submitted_at", "started_at", "ended_at") else key


def print_runs(found: list[RunHandle], *, extra: str | None = None) -> None:
    """Print a table of runs; `extra` is a metric with a column of its own."""
    ids = render.short_ids(run.id for run in found)
    headings = [
        Heading(name="run"),
        Heading(name="target", gives_way="cut"),
        Heading(name="status", is_status=True, gives_way="wrap"),
        Heading(name="standing"),
        Heading(name="ver", is_number=True),
        Heading(name="submitted"),
        Heading(name="took", is_number=True),
    ]
    rows: list[list[str]] = []
    for run in found:
        record = run.record
        rows.append(
            [
                ids[run.id],
                f"{record.instance}.{record.flow_kind}",
                run.status_text,
                record.standing,
                "" if run.version is None else str(run.version),
                render.ago(record.submitted_at, record.ledger_now),
                render.took(record.started_at, record.ended_at, record.ledger_now),
            ]
        )
    if extra is not None:
        headings.append(Heading(name=extra, is_number=True))
        for row, run in zip(rows, found, strict=True):
            row.append(render.number(run.metrics[extra]) if extra in run.metrics else "")
    render.print_table(headings, rows)


@click.command("show")
@click.argument("run_reference", metavar="RUN")
@json_option
def show_command(run_reference: str, *, as_json: bool) -> None:
    """Everything about one run: what it read, what it made, its attempts, and what to do next."""
    from optaic.client import connect
    from optaic.ledger import attempts

    with connect() as ledger:
        run = ledger.get(run_reference)
        with ledger.runtime.database.read() as tx:
            tried = attempts.history(tx, run.id)
        alerts = run.alerts if run.type == "MonitoringRun" else None
        _show(run, tried, alerts, as_json=as_json)


def _show(run: RunHandle, tried: list[Row[Any]], alerts: Sequence[Mapping[str, Any]] | None, *, as_json: bool) -> None:
    if as_json:
        more: dict[str, Any] = {"comparison": run.comparison} if run.record.reproduces_id else {}
        if alerts is not None:
            more["alerts"] = alerts
        render.print_json({**run.to_json(), **more, "attempts": [_attempt_json(row) for row in tried]})
        return
    _print_run(run)
    print_alerts(alerts or ())
    _print_parts(run)
    _print_attempts(tried, run)
    render.say()
    render.tell_next(*_next_steps(run))


def _print_run(run: RunHandle) -> None:
    record, now = run.record, run.record.ledger_now
    by = f"{record.trigger}, by {run.submitted_by}"
    render.say(f"{render.strong(f'{record.instance}.{record.flow_kind}')}  {render.paint(run.status_text)}")
    facts = [
        ("run", str(record.id)),
        ("type", record.type),
        ("standing", record.standing),
        ("version", "" if run.version is None else str(run.version)),
        ("reason", "" if record.reason is None else f"{record.reason.message} [{record.reason.code}]"),
        ("waits", _waits(run)),
        ("progress", _progress(run)),
        ("submitted", f"{render.iso(record.submitted_at)} ({render.ago(record.submitted_at, now)}, {by})"),
        ("set off by", _set_off_by(run)),
        ("started", render.iso(record.started_at) if record.started_at else ""),
        ("ended", render.iso(record.ended_at) if record.ended_at else ""),
        ("took", render.took(record.started_at, record.ended_at, now)),
        ("mode", record.mode or ""),
        ("forced", "yes: its upstreams needed not be ready" if record.is_forced else ""),
        ("revision", str(run.to_json()["revision"])),
        ("code", _code(run)),
        ("calendar", run.to_json()["calendar"] or ""),
        ("params", "  ".join(f"{name}={render.compact(value)}" for name, value in _params(run).items())),
        ("seed", str(record.seed)),
        ("as of", render.iso(record.as_of) if record.as_of else ""),
        ("repeats", str(record.retry_of_id) if record.retry_of_id else ""),
        ("reproduces", str(record.reproduces_id) if record.reproduces_id else ""),
        ("worker", record.worker or ""),
    ]
    for name, value in facts:
        if value:
            render.say_fact(f"  {name:<10}  ", value)
    print_comparison(run)


def _params(run: RunHandle) -> dict[str, Any]:
    """Give the params; of a backtest without the options that have no effect on what decides it."""
    from optaic.project.checks import with_effect

    params = dict(run.record.params)
    return with_effect(params, [item.role for item in run.inputs]) if run.type == "BacktestRun" else params


def _set_off_by(run: RunHandle) -> str:
    """Say what set a run off: the versions that were new to its flow, or the plan that it is a step of."""
    found = run.triggered_by or {}
    if "plan_id" in found:
        return f"plan {found['plan_id']}"
    news = [f"{one['upstream']} version {one['version']} (run {one['run_id']})" for one in found.get("new", ())]
    return ", ".join(dict.fromkeys(news))  # what is read in two roles is told once


def _waits(run: RunHandle) -> str:
    record = run.record
    if record.status != "pending" or record.available_at <= record.ledger_now:
        return ""
    seconds = (record.available_at - record.ledger_now).total_seconds()
    return f"until {render.iso(record.available_at)} (in {render.span(seconds)}) for its next attempt"


def _code(run: RunHandle) -> str:
    document = run.to_json()
    return "" if document["code_ref"] is None else f"{document['code_ref']}  {(document['code_digest'] or '')[:12]}"


def _progress(run: RunHandle) -> str:
    record = run.record
    if record.status != "running" or record.progress_pct is None:
        return ""
    return f"{record.progress_pct:.0f} %" + (f"  {record.progress_note}" if record.progress_note else "")


def _print_parts(run: RunHandle) -> None:
    if run.inputs:
        render.say()
        render.print_table(
            [Heading(name="input"), Heading(name="of", gives_way="wrap"), Heading(name="version", is_number=True),
             Heading(name="columns", gives_way="wrap"), Heading(name="dates read")],
            [
                [
                    item.role,
                    f"{item.instance}.{item.flow_kind}",
                    "" if item.version is None else str(item.version),
                    ", ".join(item.columns) or "all",
                    render.between(item.first_date, item.last_date),
                ]
                for item in run.inputs
            ],
        )  # fmt: skip
    print_metrics(run)
    print_curves(run)
    print_artifacts(run)


def _print_attempts(tried: list[Row[Any]], run: RunHandle) -> None:
    if not tried or (len(tried) == 1 and run.status == "completed"):
        return
    render.say()
    render.print_table(
        [Heading(name="attempt", is_number=True), Heading(name="outcome", is_status=True),
         Heading(name="took", is_number=True), Heading(name="why", gives_way="wrap")],
        [
            [
                str(row.number),
                row.outcome or ("lost" if run.record.is_lost else "running"),
                render.took(row.claimed_at, row.ended_at, run.record.ledger_now),
                "" if row.reason_code is None else f"{row.reason_message} [{row.reason_code}]",
            ]
            for row in tried
        ],
    )  # fmt: skip


def _attempt_json(row: Row[Any]) -> dict[str, Any]:
    reason = None if row.reason_code is None else {"code": row.reason_code, "message": row.reason_message}
    return {
        "number": row.number,
        "worker": row.worker,
        "outcome": row.outcome,
        "reason": reason,
        "exit_code": row.exit_code,
        "claimed_at": render.iso(row.claimed_at),
        "lease_expires_at": render.iso(row.lease_expires_at),
        "heartbeat_at": render.iso(row.heartbeat_at) if row.heartbeat_at else None,
        "ended_at": render.iso(row.ended_at) if row.ended_at else None,
    }


def _next_steps(run: RunHandle) -> list[str]:
    record, tip = run.record, render.tip_id(run.id)
    if record.is_lost and record.engine == "inline":
        return ["the program that tracked it died; the next worker, or command that writes, ends it as failed"]
    if record.is_lost:
        return ["its worker died; the next one takes it up: optaic worker --until-idle", f"optaic cancel {tip}"]
    if record.status == "pending":
        return ["a worker executes it: optaic worker --until-idle", f"optaic cancel {tip}"]
    if record.status == "running":
        return [f"optaic logs {tip} -f", f"optaic cancel {tip}"]
    if record.status == "completed":
        return [f"optaic logs {tip}", f"optaic export {tip} DIR"]
    first = record.reason.next_step if record.reason is not None else ""
    steps = [first] if first else []
    if "optaic logs" not in first:
        steps.append(f"optaic logs {tip}")
    if "optaic retry" not in first and record.engine != "inline":
        steps.append(f"optaic retry {tip}")
    return steps


@click.command("logs")
@click.argument("run_reference", metavar="RUN")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@json_option
def logs_command(run_reference: str, *, follow: bool, as_json: bool) -> None:
    """Print the log of a run, all its attempts.

    With -f and --json each line is a JSON document of its own, as it comes.
    """
    from optaic.client import connect

    with connect() as ledger:
        run = ledger.get(run_reference)
        if as_json and not follow:
            render.print_items(run.logs())
            return
        printed = _print_log(run, follow=follow, as_json=as_json)
    if not printed and not as_json:
        click.echo(f"run {run.id} ({run.status_text}) has written nothing", err=True)


def _print_log(run: RunHandle, *, follow: bool, as_json: bool) -> int:
    place, attempt, printed, is_told = (0, -1), 0, 0, False
    while True:
        # The status is read before the lines: when it says that the run has ended, no line can come after these.
        has_ended = run.refresh().record.status.is_terminal
        for at, lines in run.log_after(place):
            place = at
            if at[0] != attempt:
                attempt = at[0]
                if attempt > 1 and not as_json:
                    render.say(f"--- attempt {attempt} ---")
            for line in lines:
                printed += 1
                click.echo(json.dumps(line, ensure_ascii=False) if as_json else _line_text(line))
        if has_ended or not follow:
            break
        if run.record.is_lost and not is_told:
            is_told = True
            click.echo("the worker of this run died; waiting for the next: optaic worker --until-idle", err=True)
        time.sleep(FOLLOW_SECONDS)
    if follow and not as_json:
        click.echo(f"run {run.id} is {run.status_text}", err=True)
    return printed


def _line_text(line: dict[str, Any]) -> str:
    at = str(line["at"])[11:19]
    return f"{at}  {line['level']:<7}  {line['text']}"
