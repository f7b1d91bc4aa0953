"""A host for unit tests with plain Python; not part of a component.

The folder also holds the bindings that componentize-py makes of the contract, with their types.
"""

import json
from typing import Any, Optional

from componentize_py_types import Err
from wit_world.imports import host, http, mail, types


class Host:
    """A host with these settings, and answers for the next requests; without answers there is no connection."""

    def __init__(self, settings: dict[str, Any], answers: Optional[list[http.Response]] = None) -> None:
        self.answers = list(answers or [])
        self.requests: list[http.Request] = []
        self.logged: list[tuple[host.Level, str]] = []
        host.settings = lambda: json.dumps(settings)
        host.log = lambda level, text: self.logged.append((level, text))
        host.secret = lambda name: None
        host.now = lambda: (1700000000, 0)
        host.random = bytes
        host.remaining_ms = lambda: 60000
        http.send = self._send

    def _send(self, request: http.Request) -> http.Response:
        self.requests.append(request)
        if not self.answers:
            raise Err(http.Fault_Connect("the network is down"))
        return self.answers.pop(0)


NEXT_HOP = types.NextHop("test", "", "box.example")


class Item:
    """An item with this text, for these recipients, that are numbered from 0."""

    def __init__(self, text: str, addresses: list[str]) -> None:
        self._text, self._addresses = text, addresses

    def __enter__(self) -> "Item":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def envelope(self) -> mail.Envelope:
        return mail.Envelope(
            item_id="item-1", attempt=1, reverse_path="jo@home.example", envelope_id=None, return_content=None,
            helo=None, submitter=None, received_at="2023-11-14T22:13:20Z", expires_at=None, must_deliver=False,
            priority=mail.Priority.NORMAL, size=len(self._text), properties=[])

    def recipients(self) -> list[mail.Recipient]:
        return [mail.Recipient(index=i, address_type="SMTP", address=address, original=None, notify=None,
                               idempotency_key=f"item-1-{i}", properties=[])
                for i, address in enumerate(self._addresses)]

    def text(self, max: int) -> Optional[str]:
        return self._text[:max] or None
