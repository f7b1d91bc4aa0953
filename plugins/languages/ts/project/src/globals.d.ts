// What Node.js brings for tests.
declare module "node:test" { export function test(name: string, body: () => void): void }
declare module "node:assert" {
  const assert: {
    equal(found: unknown, expected: unknown): void;
    deepEqual(found: unknown, expected: unknown): void;
    throws(body: () => void, check: (thrown: unknown) => boolean): void;
  };
  export default assert;
}
