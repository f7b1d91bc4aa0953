# The unit tests, on this machine: no WebAssembly, no host. gen/ is written by `postern agent new` and `postern agent build`.
set -eu
mkdir -p build
cc=${TEST_CC:-cc}
# Imports that the test's host does not play are left out by the linker as long as nothing calls them.
flags="-std=gnu11 -g -Igen -Isdk -ffunction-sections -fdata-sections"
"$cc" $flags -w -c gen/delivery_agent.c -o build/test-bindings.o
"$cc" $flags -Wall -Wextra agent_test.c sdk/postern_test.c agent.c sdk/postern.c build/test-bindings.o \
    -Wl,--gc-sections -Wl,-z,muldefs -o build/agent-test
build/agent-test
