// The unit tests of my-agent.
import assert from "node:assert";
import { test } from "node:test";
import type { Response } from "postern:delivery-agent/http@0.1.0";
import { fromUtf8, utf8 } from "../sdk/postern.js";
import { host, item, nextHop } from "../sdk/testing.js";
import { agent } from "./agent.js";

const deliver = (answers: Partial<Response>[]) => {
  const { requests } = host({ url: "https://sms.example/send" }, answers);
  agent.openConnection(nextHop);
  const { outcomes } = agent.deliver(item("the text", ["+4930123", "+4930124"]));
  return { requests, tags: outcomes.map((entry) => entry.outcome.tag) };
};

test("each recipient gets a post of its own", () => {
  const { requests, tags } = deliver([{ status: 200 }, { status: 422 }]);
  assert.deepEqual(tags, ["delivered", "failed"]);
  assert.equal(fromUtf8(requests[1].body), "the text");
  assert.deepEqual(requests[1].headers[2], ["X-Recipient", "+4930124"]);
});

test("what may work later is deferred", () => {
  assert.deepEqual(deliver([{ status: 503 }]).tags, ["deferred", "deferred"]);
  const busy = deliver([{ status: 429, headers: [["retry-after", "7"]] }, { status: 200 }]);
  assert.deepEqual(busy.tags, ["deferred", "delivered"]);
});

test("texts survive as bytes", () => {
  assert.deepEqual([...utf8("aü€😀")], [0x61, 0xc3, 0xbc, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80]);
  assert.equal(fromUtf8(utf8("aü€😀")), "aü€😀");
});

test("without a url nothing is opened", () => {
  host({});
  assert.throws(() => agent.openConnection(nextHop), (thrown) => (thrown as { tag: string }).tag === "defer-queue");
});
