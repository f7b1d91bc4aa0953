"""my-agent: posts the text of each message to a web address, once for each recipient."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.agent import Description, Report
from wit_world.imports import http, mail, types

import postern

MAX_TEXT = 64 << 10


class Agent(exports.Agent):
    # Where to post: the setting `url`, which the connector must grant. One instance is one open connection, but the
    # object is made anew for each call: what stays belongs to the class.
    url = ""

    def describe(self) -> Description:
        return Description("my-agent", "0.1.0", "HTTP", [], None)

    def open_connection(self, hop: types.NextHop) -> str:
        url = postern.settings().get("url")
        if not isinstance(url, str) or not url:
            raise postern.not_now("the setting `url` is missing")
        Agent.url = url
        return url

    def deliver(self, item: mail.Item) -> Report:
        with item:
            text = item.text(MAX_TEXT)
            if text is None:
                no_text = postern.failed("there is no text in it", "content-rejected")
                return postern.report(item.recipients(), lambda _: no_text)
            return postern.report(item.recipients(), lambda recipient: post(recipient, text))

    def close_connection(self) -> None:
        pass


def post(recipient: mail.Recipient, text: str) -> types.Outcome:
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Idempotency-Key", recipient.idempotency_key),
        ("X-Recipient", recipient.address),
    ]
    try:
        return outcome(postern.send("POST", Agent.url, headers, text.encode()))
    except Err as fault:
        late = isinstance(fault.value, http.Fault_Timeout)
        return postern.deferred(repr(fault.value), "timeout" if late else "service-unavailable")


def outcome(answer: http.Response) -> types.Outcome:
    """What an answer means for the recipient."""
    text = f"HTTP status {answer.status}"
    if 200 <= answer.status < 300:
        return postern.delivered(text)
    if answer.status == 429:
        wait = next((value for name, value in answer.headers if name.lower() == "retry-after"), "")
        return postern.deferred(text, "throttled", int(wait) if wait.isdigit() else None)
    if 400 <= answer.status < 500:
        return postern.failed(text, "content-rejected")
    return postern.deferred(text, "service-unavailable")
