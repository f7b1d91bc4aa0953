// Helpers over the contract: outcomes whose codes fit, settings, and a log.
import * as host from "postern:delivery-agent/host@0.1.0";

/** The connector's `settings` table; a refusal is thrown when it is none. For `openConnection`. */
export const settings = () => {
  const table = JSON.parse(host.settings());
  if (typeof table !== "object" || table === null || Array.isArray(table)) throw notNow("settings: not a table");
  return table;
};

/** Lines in the host's log. */
export const log = {
  error: (text) => host.log("error", String(text)),
  warn: (text) => host.log("warn", String(text)),
  info: (text) => host.log("info", String(text)),
  debug: (text) => host.log("debug", String(text)),
};

const response = (code, text) => ({ code, status: [Math.floor(code / 100), 0, 0], text: String(text) });

/** It arrived. */
export const delivered = (text) => ({ tag: "delivered", val: response(250, text) });

/** It went on into a world that does not report back. */
export const relayed = (text) => ({ tag: "relayed", val: response(250, text) });

/** It was taken; success is only reported when these receipts say so. */
export const accepted = (text, receiptIds, expiresAfter) => ({
  tag: "accepted",
  val: { receiptIds, response: response(250, text), expiresAfter },
});

/** Not now, perhaps later. The class is a word of the contract ("busy", "throttled", ...); seconds are a wish. */
export const deferred = (text, failureClass = "", retryAfter = undefined) => ({
  tag: "deferred",
  val: { response: response(451, text), class: failureClass, retryAfter },
});

/** Never. */
export const failed = (text, failureClass = "") => ({
  tag: "failed",
  val: { response: response(550, text), class: failureClass },
});

/** "The whole queue has to wait": `throw notNow("no line")` in `openConnection`. */
export const notNow = (text, failureClass = "") => ({ tag: "defer-queue", val: deferred(text, failureClass).val });

/** A report with an outcome for each recipient. */
export const report = (recipients, outcome) => ({
  outcomes: recipients.map((recipient) => ({
    recipient: recipient.index,
    outcome: outcome(recipient),
    remoteId: undefined,
    details: [],
  })),
  receipts: [],
  refusal: undefined,
});

/** The bytes of a text in UTF-8; QuickJS has no TextEncoder. */
export const utf8 = (text) => {
  const bytes = [];
  for (const character of String(text)) {
    const code = character.codePointAt(0);
    // Half of a pair stands for nothing.
    const point = code >= 0xd800 && code < 0xe000 ? 0xfffd : code;
    const more = point < 0x80 ? 0 : point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    bytes.push(more ? ([0, 0xc0, 0xe0, 0xf0][more] | (point >> (6 * more))) : point);
    for (let left = more - 1; left >= 0; left--) bytes.push(0x80 | ((point >> (6 * left)) & 0x3f));
  }
  return new Uint8Array(bytes);
};

/** The text that bytes are in UTF-8, for those that are. */
export const fromUtf8 = (bytes) => {
  let escaped = "";
  for (const byte of bytes) escaped += `%${byte.toString(16).padStart(2, "0")}`;
  return decodeURIComponent(escaped);
};

/** The fault that a call of the host threw; anything else that was thrown is thrown on. */
export const faultOf = (thrown) => {
  const fault = thrown?.payload ?? thrown;
  if (typeof fault?.tag !== "string") throw thrown;
  return fault;
};
