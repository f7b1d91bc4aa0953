// The agent contract as TypeScript sees it in components made by componentize-qjs. What may be missing is `undefined`.

declare module "postern:delivery-agent/types@0.1.0" {
  export interface Response { code: number; status: [number, number, number]; text: string }
  export type FailureClass = string;
  export interface Deferral { response: Response; class: FailureClass; retryAfter?: number }
  export interface Failure { response: Response; class: FailureClass }
  export interface Pending { receiptIds: string[]; response: Response; expiresAfter?: number }
  export type Outcome =
    | { tag: "delivered" | "relayed" | "expanded"; val: Response }
    | { tag: "accepted"; val: Pending }
    | { tag: "deferred"; val: Deferral }
    | { tag: "failed"; val: Failure };
  export interface RecipientOutcome { recipient: number; outcome: Outcome; remoteId?: string; details: [string, string][] }
  export type ReceiptState =
    | { tag: "pending" | "delivered"; val: Response }
    | { tag: "failed"; val: Failure }
    | { tag: "retry"; val: Deferral };
  export interface Receipt { id: string; address?: string; state: ReceiptState; details: [string, string][] }
  export type Refusal = { tag: "defer-queue"; val: Deferral } | { tag: "fail-queue"; val: Failure };
  export interface NextHop { connector: string; protocol: string; destination: string }
}

declare module "postern:delivery-agent/mail@0.1.0" {
  import type { RecipientOutcome } from "postern:delivery-agent/types@0.1.0";
  export type Notify = "success" | "failure" | "delay";
  export type Priority = "low" | "normal" | "high";
  export interface Envelope {
    itemId: string; attempt: number; reversePath: string; envelopeId?: string; returnContent?: string; helo?: string;
    submitter?: string; receivedAt: string; expiresAt?: string; mustDeliver: boolean; priority: Priority; size: number;
    properties: [string, string][];
  }
  export interface Recipient {
    index: number; addressType: string; address: string; original?: [string, string]; notify?: Notify[];
    idempotencyKey: string; properties: [string, string][];
  }
  export interface Part {
    index: number; contentType: string; charset?: string; fileName?: string; attachment: boolean; size: number;
  }
  /** Each of these throws a text when it fails. */
  export interface Item {
    envelope(): Envelope;
    recipients(): Recipient[];
    read(offset: number, length: number): Uint8Array;
    headers(): [string, string][];
    text(max: number): string | undefined;
    parts(): Part[];
    readPart(index: number, offset: number, length: number): Uint8Array;
    report(outcome: RecipientOutcome): void;
  }
}

declare module "postern:delivery-agent/host@0.1.0" {
  export type Level = "error" | "warn" | "info" | "debug" | "trace";
  export function log(level: Level, text: string): void;
  /** The connector's settings table as JSON. */
  export function settings(): string;
  export function secret(name: string): string | undefined;
  /** Seconds since 1970, and nanoseconds. */
  export function now(): [number, number];
  export function random(length: number): Uint8Array;
  export function remainingMs(): number;
  export function callbackUrl(): string | undefined;
}

declare module "postern:delivery-agent/http@0.1.0" {
  export interface Request {
    method: string; url: string; headers: [string, string][]; body: Uint8Array; timeoutMs?: number;
  }
  export interface Response { status: number; headers: [string, string][]; body: Uint8Array }
  /** What `send` throws, as `payload` of an object or by itself. */
  export type Fault = { tag: "denied" | "connect" | "tls" | "other"; val: string } | { tag: "timeout" | "too-large" };
  export function send(request: Request): Response;
}

declare module "postern:delivery-agent/tcp@0.1.0" {
  export type Fault =
    | { tag: "denied" | "connect" | "tls" | "other"; val: string }
    | { tag: "timeout" | "closed" };
  export interface Connection {
    read(max: number, timeoutMs: number): Uint8Array;
    readLine(max: number, timeoutMs: number): string | undefined;
    write(data: Uint8Array, timeoutMs: number): void;
    close(): void;
  }
  export function connect(target: string, timeoutMs: number): Connection;
}

declare module "postern:delivery-agent/state@0.1.0" {
  export type Fault = { tag: "not-granted" | "quota" } | { tag: "other"; val: string };
  export function get(key: string): Uint8Array | undefined;
  export function set(key: string, value: Uint8Array): void;
  function remove(key: string): void;
  export { remove as delete };
  export function keys(prefix: string, limit: number): string[];
  export function swap(key: string, expected: Uint8Array | undefined, fresh: Uint8Array | undefined): boolean;
}

declare module "postern:delivery-agent/inbound@0.1.0" {
  export interface Submission { remoteId: string; reversePath: string; recipients: string[]; content: Uint8Array }
  /** The new message's id. */
  export function submit(submission: Submission): string;
}

declare module "postern:delivery-agent/agent@0.1.0" {
  import type { NextHop, Receipt, RecipientOutcome, Refusal } from "postern:delivery-agent/types@0.1.0";
  import type { Item } from "postern:delivery-agent/mail@0.1.0";
  export interface Description { name: string; version: string; protocol: string; accepts: string[]; maxSize?: number }
  export interface Report { outcomes: RecipientOutcome[]; receipts: Receipt[]; refusal?: Refusal }
  /** What the agent exports as `agent`. */
  export interface Agent {
    describe(): Description;
    openConnection(hop: NextHop): string;
    deliver(item: Item): Report;
    closeConnection(): void;
  }
}
