# Makes build/my-agent.core.wasm; `postern agent build` runs it, says which compiler to use, and makes a component of that.
set -eu
"$CC" $CC_FLAGS -Oz -Wall -Wextra -Igen -Isdk -x c++ -std=c++20 -fno-exceptions -c agent.cpp -o build/agent.o
for source in sdk/postern gen/delivery_agent; do
    "$CC" $CC_FLAGS -Oz -Igen -Isdk -x c -c "$source.c" -o "build/$(basename "$source").o"
done
"$CC" $CC_FLAGS $LINK_FLAGS -Oz -Wl,--strip-all build/agent.o build/postern.o build/delivery_agent.o \
    gen/delivery_agent_component_type.o -o "build/$NAME.core.wasm"
