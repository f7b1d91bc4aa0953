# Makes build/my-agent.core.wasm; `postern agent build` runs it, says which compiler to use, and makes a component of that.
set -eu
"$CC" $CC_FLAGS $LINK_FLAGS -Oz -Wall -Wextra -Wl,--strip-all -Igen -Isdk agent.c sdk/postern.c \
    gen/delivery_agent.c gen/delivery_agent_component_type.o -o "build/$NAME.core.wasm"
