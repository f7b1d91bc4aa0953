// my-agent: posts the text of each message to a web address, once for each recipient.
import { send } from "postern:delivery-agent/http@0.1.0";
import { deferred, delivered, failed, faultOf, notNow, report, settings, utf8 } from "./sdk/postern.js";

const MAX_TEXT = 65536;

// Where to post: the setting `url`, which the connector must grant.
let url;

export const agent = {
  describe: () => ({ name: "my-agent", version: "0.1.0", protocol: "HTTP", accepts: [], maxSize: undefined }),

  openConnection() {
    url = settings().url;
    if (typeof url !== "string" || !url) throw notNow("the setting `url` is missing");
    return url;
  },

  deliver(item) {
    const text = item.text(MAX_TEXT);
    return report(item.recipients(), (recipient) =>
      text ? post(recipient, text) : failed("there is no text in it", "content-rejected"));
  },

  closeConnection() {},
};

function post(recipient, text) {
  const request = {
    method: "POST",
    url,
    headers: [
      ["Content-Type", "text/plain; charset=utf-8"],
      ["Idempotency-Key", recipient.idempotencyKey],
      ["X-Recipient", recipient.address],
    ],
    body: utf8(text),
    timeoutMs: undefined,
  };
  try {
    return outcome(send(request));
  } catch (thrown) {
    const fault = faultOf(thrown);
    return deferred(`${fault.tag}: ${fault.val ?? ""}`, fault.tag === "timeout" ? "timeout" : "service-unavailable");
  }
}

// What an answer means for the recipient.
function outcome(answer) {
  const text = `HTTP status ${answer.status}`;
  if (answer.status >= 200 && answer.status < 300) return delivered(text);
  if (answer.status === 429) {
    const header = answer.headers.find(([name]) => name.toLowerCase() === "retry-after");
    const seconds = header ? Number.parseInt(header[1], 10) : NaN;
    return deferred(text, "throttled", Number.isNaN(seconds) ? undefined : seconds);
  }
  if (answer.status >= 400 && answer.status < 500) return failed(text, "content-rejected");
  return deferred(text, "service-unavailable");
}
