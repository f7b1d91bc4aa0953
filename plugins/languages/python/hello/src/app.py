"""my-agent: logs each message, and says that it delivered it."""

from wit_world import exports
from wit_world.exports.agent import Description, Report
from wit_world.imports import mail, types

import postern


class Agent(exports.Agent):
    def describe(self) -> Description:
        return Description("my-agent", "0.1.0", "HELLO", [], None)

    def open_connection(self, hop: types.NextHop) -> str:
        postern.info(f"{postern.settings().get('greeting', 'hello')}, {hop.destination}")
        return hop.destination

    def deliver(self, item: mail.Item) -> Report:
        with item:
            envelope = item.envelope()
            postern.info(f"{envelope.size} bytes from <{envelope.reverse_path}>")
            return postern.report(item.recipients(), lambda r: postern.delivered(f"greeted {r.address}"))

    def close_connection(self) -> None:
        pass
