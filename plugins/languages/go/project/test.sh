# The unit tests, on this machine: no WebAssembly, no host.
set -eu
PATH="$PWD/.venv/bin:$PATH" GOTOOLCHAIN=local go test .
