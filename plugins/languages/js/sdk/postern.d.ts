/// <reference path="./contract.d.ts" />
import type { Outcome, Refusal } from "postern:delivery-agent/types@0.1.0";
import type { Recipient } from "postern:delivery-agent/mail@0.1.0";
import type { Report } from "postern:delivery-agent/agent@0.1.0";

/** The connector's `settings` table; a refusal is thrown when it is none. For `openConnection`. */
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
/** The bytes of a text in UTF-8; QuickJS has no TextEncoder. */
export function utf8(text: string): Uint8Array;
/** The text that bytes are in UTF-8, for those that are. */
export function fromUtf8(bytes: Uint8Array): string;
/** The fault that a call of the host threw; anything else that was thrown is thrown on. */
export function faultOf<Fault extends { tag: string; val?: string }>(thrown: unknown): Fault;
