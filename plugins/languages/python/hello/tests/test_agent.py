"""The unit tests of my-agent."""

import unittest

import postern
from app import Agent
from postern_testing import NEXT_HOP, Host, Item


class Hello(unittest.TestCase):
    def test_every_recipient_is_greeted(self) -> None:
        host = Host({"greeting": "moin"})
        agent = Agent()
        agent.open_connection(NEXT_HOP)
        outcomes = agent.deliver(Item("x", ["ann@box.example", "bob@box.example"])).outcomes
        self.assertEqual(len(outcomes), 2)
        self.assertEqual(outcomes[1].outcome, postern.delivered("greeted bob@box.example"))
        self.assertEqual(host.logged[0][1], "moin, box.example")


if __name__ == "__main__":
    unittest.main()
