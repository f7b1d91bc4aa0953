// my-agent: logs each message, and says that it delivered it.
import type { Agent } from "postern:delivery-agent/agent@0.1.0";
import { delivered, log, report, settings } from "../sdk/postern.js";

export const agent: Agent = {
  describe: () => ({ name: "my-agent", version: "0.1.0", protocol: "HELLO", accepts: [], maxSize: undefined }),

  openConnection(hop) {
    log.info(`${settings().greeting ?? "hello"}, ${hop.destination}`);
    return hop.destination;
  },

  deliver(item) {
    const envelope = item.envelope();
    log.info(`${envelope.size} bytes from <${envelope.reversePath}>`);
    return report(item.recipients(), (recipient) => delivered(`greeted ${recipient.address}`));
  },

  closeConnection() {},
};
