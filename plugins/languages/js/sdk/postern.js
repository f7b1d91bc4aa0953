// Helpers over the contract: outcomes whose codes fit, settings, and a log.
import * as host from "postern:delivery-agent/host@0.1.0";

/** The connector's `settings` table. */
export const settings = () => JSON.parse(host.settings());

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
