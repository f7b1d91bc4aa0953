# The unit tests, in Node.js: no WebAssembly, no host.
set -eu
PATH="node_modules/.bin:$PATH" tsc -p .
mkdir -p build/js/sdk
cp sdk/postern.js sdk/testing.js build/js/sdk/
cp package.json build/js/
cd build/js && node --import ./sdk/testing.js --test
