# The unit tests, on this machine: no WebAssembly, no host. gen/ is written by `postern agent new` and `postern agent build`.
set -eu
mkdir -p build
# Imports that the test's host does not play are left out by the linker as long as nothing calls them.
flags="-g -Igen -Isdk -ffunction-sections -fdata-sections"
for source in gen/delivery_agent sdk/postern sdk/postern_test; do
    "${TEST_CC:-cc}" $flags -std=gnu11 -w -c "$source.c" -o "build/test-$(basename "$source").o"
done
"${TEST_CXX:-c++}" $flags -std=c++20 -Wall -Wextra agent_test.cpp agent.cpp build/test-postern_test.o build/test-postern.o \
    build/test-delivery_agent.o -Wl,--gc-sections -Wl,-z,muldefs -o build/agent-test
build/agent-test
