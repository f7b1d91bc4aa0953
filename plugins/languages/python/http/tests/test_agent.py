"""The unit tests of my-agent."""

import unittest

import postern
from app import Agent
from componentize_py_types import Err
from postern_testing import NEXT_HOP, Host, Item
from wit_world.imports import http, types


def answer(status: int, *headers: tuple[str, str]) -> http.Response:
    return http.Response(status, list(headers), b"")


def deliver(*answers: http.Response) -> tuple[Host, list[types.Outcome]]:
    host = Host({"url": "https://sms.example/send"}, list(answers))
    agent = Agent()
    agent.open_connection(NEXT_HOP)
    report = agent.deliver(Item("the text", ["+4930123", "+4930124"]))
    return host, [entry.outcome for entry in report.outcomes]


class Http(unittest.TestCase):
    def test_each_recipient_gets_a_post_of_its_own(self) -> None:
        host, outcomes = deliver(answer(200), answer(422))
        expected = [postern.delivered("HTTP status 200"), postern.failed("HTTP status 422", "content-rejected")]
        self.assertEqual(outcomes, expected)
        self.assertEqual(host.requests[1].body, b"the text")
        self.assertIn(("X-Recipient", "+4930124"), host.requests[1].headers)

    def test_what_may_work_later_is_deferred(self) -> None:
        _, outcomes = deliver(answer(429, ("Retry-After", "7")))
        self.assertEqual(outcomes[0], postern.deferred("HTTP status 429", "throttled", 7))
        self.assertIsInstance(outcomes[1], types.Outcome_Deferred)

    def test_without_a_url_nothing_is_opened(self) -> None:
        Host({})
        with self.assertRaises(Err):
            Agent().open_connection(NEXT_HOP)


if __name__ == "__main__":
    unittest.main()
