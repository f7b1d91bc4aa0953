/// <reference path="./contract.d.ts" />
import type { Outcome, Refusal } from "postern:delivery-agent/types@0.1.0";
import type { Recipient } from "postern:delivery-agent/mail@0.1.0";
import type { Report } from "postern:delivery-agent/agent@0.1.0";

/** The connector's `settings` table. */
export function settings(): Record<string, unknown>;
/** Lines in the host's log. */
export const log: Record<"error" | "warn" | "info" | "debug", (text: string) => void>;
/** It arrived. */
export function delivered(text: string): Outcome;
/** It went on into a world that does not report back. */
export function relayed(text: string): Outcome;
/** It was taken; success is only reported when these receipts say so. Seconds to wait at most. */
export function accepted(text: string, receiptIds: string[], expiresAfter?: number): Outcome;
/** Not now, perhaps later. The class is a word of the contract ("busy", "throttled", ...); seconds are a wish. */
export function deferred(text: string, failureClass?: string, retryAfter?: number): Outcome;
/** Never. */
export function failed(text: string, failureClass?: string): Outcome;
/** "The whole queue has to wait": `throw notNow("no line")` in `openConnection`. */
export function notNow(text: string, failureClass?: string): Refusal;
/** A report with an outcome for each recipient. */
export function report(recipients: Recipient[], outcome: (recipient: Recipient) => Outcome): Report;
