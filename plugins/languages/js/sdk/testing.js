// A host for unit tests in Node.js; not part of a component. Load it first: node --import ./sdk/testing.js --test
import { register } from "node:module";

// What Node.js has and QuickJS has not; an agent that uses it is to fail here, too.
const encoder = new TextEncoder();
for (const name of ["TextEncoder", "TextDecoder", "fetch", "Buffer"]) delete globalThis[name];

/** What the host played here does and has seen. */
globalThis.postern ??= { settings: {}, answers: [], requests: [], logged: [], secrets: {} };

const sources = {
  host: `
    const t = globalThis.postern;
    export const log = (level, text) => void t.logged.push([level, text]);
    export const settings = () => JSON.stringify(t.settings);
    export const secret = (name) => t.secrets[name];
    export const now = () => [1700000000, 0];
    export const random = (length) => new Uint8Array(length);
    export const remainingMs = () => 60000;
    export const callbackUrl = () => undefined;`,
  http: `
    const t = globalThis.postern;
    export const send = (request) => {
      t.requests.push(request);
      const answer = t.answers.shift();
      if (answer) return { headers: [], body: new Uint8Array(), ...answer };
      // As the runtime of components throws them.
      throw { payload: { tag: "connect", val: "the network is down" } };
    };`,
};

const hooks = `
  const sources = ${JSON.stringify(sources)};
  const NAME = /^postern:delivery-agent\\/([a-z]+)@/;
  export const resolve = (specifier, context, next) => NAME.test(specifier)
    ? { url: "data:text/javascript," + encodeURIComponent(sources[NAME.exec(specifier)[1]] ?? "export {};"), shortCircuit: true }
    : next(specifier, context);`;
register("data:text/javascript," + encodeURIComponent(hooks));

/** A host with these settings, nothing sent yet, and answers for the next requests. */
export const host = (settings, answers = []) => {
  Object.assign(globalThis.postern, { settings, answers, requests: [], logged: [], secrets: {} });
  return globalThis.postern;
};

/** Where messages go in tests. */
export const nextHop = { connector: "test", protocol: "", destination: "box.example" };

/** An item with this text for these recipients, that are numbered from 0. */
export const item = (text, addresses) => ({
  envelope: () => ({
    itemId: "item-1", attempt: 1, reversePath: "jo@home.example", receivedAt: "2023-11-14T22:13:20Z",
    mustDeliver: false, priority: "normal", size: text.length, properties: [],
  }),
  recipients: () => addresses.map((address, index) => ({
    index, addressType: "SMTP", address, idempotencyKey: `item-1-${index}`, properties: [],
  })),
  read: (offset, length) => encoder.encode(text).slice(offset, offset + length),
  headers: () => [],
  text: (max) => (text ? text.slice(0, max) : undefined),
  parts: () => [],
  readPart: () => new Uint8Array(),
  report: () => {},
});
