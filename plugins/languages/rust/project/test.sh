# The unit tests, on this machine: no WebAssembly, no host.
set -eu
cargo test
