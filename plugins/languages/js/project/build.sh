# Makes build/my-agent.wasm; `postern agent build` runs it and says which tools to use. What QuickJS prints goes to the log.
set -eu
"$COMPONENTIZE_QJS" --sync -w wit -n "$WORLD" -j agent.js -o "build/$NAME.wasm"
