/// <reference path="./contract.d.ts" />
import type { NextHop } from "postern:delivery-agent/types@0.1.0";
import type { Item } from "postern:delivery-agent/mail@0.1.0";
import type { Request, Response } from "postern:delivery-agent/http@0.1.0";

/** What the host played in tests has seen. */
export interface Host { requests: Request[]; logged: [string, string][]; secrets: Record<string, string> }
/** A host with these settings, nothing sent yet, and answers for the next requests. */
export function host(settings: object, answers?: Partial<Response>[]): Host;
/** Where messages go in tests. */
export const nextHop: NextHop;
/** An item with this text for these recipients, that are numbered from 0. */
export function item(text: string, addresses: string[]): Item;
