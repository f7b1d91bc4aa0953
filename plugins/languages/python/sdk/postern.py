"""Helpers over the contract: settings, log, outcomes whose codes fit, and HTTP."""

import json
from typing import Any, Callable, Iterable, Optional

from componentize_py_types import Err
from wit_world.exports.agent import Report
from wit_world.imports import host, http, mail, types


def settings() -> dict[str, Any]:
    """The connector's `settings` table; raises a refusal when it is none. For `open_connection`."""
    table = json.loads(host.settings())
    if not isinstance(table, dict):
        raise not_now("settings: not a table")
    return table


def info(text: str) -> None:
    """A line in the host's log."""
    host.log(host.Level.INFO, text)


def error(text: str) -> None:
    """A line about something that went wrong in the host's log."""
    host.log(host.Level.ERROR, text)


def _response(code: int, text: str) -> types.Response:
    return types.Response(code, (code // 100, 0, 0), text)


def delivered(text: str) -> types.Outcome:
    """It arrived."""
    return types.Outcome_Delivered(_response(250, text))


def relayed(text: str) -> types.Outcome:
    """It went on into a world that does not report back."""
    return types.Outcome_Relayed(_response(250, text))


def accepted(text: str, receipt_ids: list[str], expires_after: Optional[int] = None) -> types.Outcome:
    """It was taken; success is only reported when these receipts say so."""
    return types.Outcome_Accepted(types.Pending(receipt_ids, _response(250, text), expires_after))


def deferred(text: str, failure_class: str = "", retry_after: Optional[int] = None) -> types.Outcome:
    """Not now, perhaps later. The class is a word of the contract ("busy", ...); seconds are a wish."""
    return types.Outcome_Deferred(types.Deferral(_response(451, text), failure_class, retry_after))


def failed(text: str, failure_class: str = "") -> types.Outcome:
    """Never."""
    return types.Outcome_Failed(types.Failure(_response(550, text), failure_class))


def not_now(text: str, failure_class: str = "") -> Err[types.Refusal]:
    """The whole queue has to wait: `raise not_now("no line")` in `open_connection`."""
    return Err(types.Refusal_DeferQueue(types.Deferral(_response(451, text), failure_class, None)))


def report(recipients: Iterable[mail.Recipient], outcome: Callable[[mail.Recipient], types.Outcome]) -> Report:
    """A report with an outcome for each recipient."""
    outcomes = [types.RecipientOutcome(r.index, outcome(r), None, []) for r in recipients]
    return Report(outcomes, [], None)


def send(method: str, url: str, headers: list[tuple[str, str]], body: bytes) -> http.Response:
    """An HTTP request through the host; raises `Err` with a fault when no answer came."""
    return http.send(http.Request(method, url, headers, body, None))
