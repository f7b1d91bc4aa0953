// The unit tests of my-agent.
import assert from "node:assert";
import { test } from "node:test";
import { host, item, nextHop } from "./sdk/testing.js";
import { agent } from "./agent.js";

test("every recipient is greeted", () => {
  const { logged } = host({ greeting: "moin" });
  agent.openConnection(nextHop);
  const report = agent.deliver(item("x", ["ann@box.example", "bob@box.example"]));
  assert.equal(report.outcomes.length, 2);
  assert.equal(report.outcomes[1].outcome.tag, "delivered");
  assert.equal(report.outcomes[1].outcome.val.text, "greeted bob@box.example");
  assert.deepEqual(logged[0], ["info", "moin, box.example"]);
});
