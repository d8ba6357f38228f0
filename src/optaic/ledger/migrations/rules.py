"""Triggers: the rules that CHECK constraints cannot say, because they compare a row with what it was."""

from __future__ import annotations

from alembic import op

from optaic.domain.status import TRANSITIONS, RunStatus

_IMMUTABLE = ("instance_revisions", "definition_versions", "versions", "version_segments", "segments", "artifacts")


def _illegal_transition() -> str:
    """Say in SQL that a status changes as the table of transitions forbids."""
    legal = " OR ".join(
        f"(OLD.status = '{source}' AND NEW.status = '{target}')"
        for source, targets in TRANSITIONS.items()
        for target in sorted(targets)
    )
    return f"NEW.status <> OLD.status AND NOT ({legal})"


def _terminal_changes() -> str:
    """Say in SQL that what a terminal run says of its end changes."""
    terminal = ", ".join(f"'{status}'" for status in RunStatus if status.is_terminal)
    return (
        f"OLD.status IN ({terminal}) AND (NEW.attempt <> OLD.attempt OR NEW.ended_at <> OLD.ended_at "
        "OR NEW.flow_id <> OLD.flow_id OR NEW.standing <> OLD.standing)"
    )


_RULES: tuple[tuple[str, str, str, str, str], ...] = (
    ("runs_transition", "runs", "UPDATE", _illegal_transition(), "this change of a run's status is not allowed"),
    ("runs_terminal", "runs", "UPDATE", _terminal_changes(), "a terminal run is final"),
    ("runs_attempt", "runs", "UPDATE", "NEW.attempt < OLD.attempt", "the attempt number never falls"),
    ("runs_kept", "runs", "DELETE", "", "runs are never deleted"),
    ("attempts_final", "attempts", "UPDATE", "OLD.ended_at IS NOT NULL", "an ended attempt is final"),
    *(
        (f"{table}_immutable", table, "UPDATE", "", f"rows of {table} are never changed")
        for table in _IMMUTABLE
    ),
)  # fmt: skip


def create_rules() -> None:
    """Make the triggers of the database at hand."""
    for name, table, event, condition, message in _RULES:
        when = f"WHEN ({condition})" if condition else ""
        if op.get_bind().dialect.name == "sqlite":
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW {when} "
                f"BEGIN SELECT RAISE(ABORT, '{message.replace(chr(39), chr(39) * 2)}'); END"
            )
        else:
            quoted = message.replace("'", "''")
            op.execute(
                f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN RAISE EXCEPTION '{quoted}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
            )
            op.execute(f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW {when} EXECUTE FUNCTION {name}()")


def drop_rules() -> None:
    """Drop the triggers of the database at hand."""
    for name, table, *_ in _RULES:
        if op.get_bind().dialect.name == "sqlite":
            op.execute(f"DROP TRIGGER {name}")
        else:
            op.execute(f"DROP TRIGGER {name} ON {table}")
            op.execute(f"DROP FUNCTION {name}()")
