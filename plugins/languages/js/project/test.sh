# The unit tests, in Node.js: no WebAssembly, no host.
set -eu
node --import ./sdk/testing.js --test
