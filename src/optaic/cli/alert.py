"""Alerts of a monitoring run as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optaic.cli import render
from optaic.cli.render import Heading


def print_alerts(alerts: Sequence[Mapping[str, Any]]) -> None:
    """Print what a monitor found, the worst first, if it found anything; the sentences say value and threshold."""
    if not alerts:
        return
    render.say()
    render.print_table(
        [Heading(name="alert", is_status=True), Heading(name="of"), Heading(name="what", gives_way="wrap")],
        [[alert["severity"], alert["metric"], alert["message"]] for alert in alerts],
    )
