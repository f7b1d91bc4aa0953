# Makes build/my-agent.wasm; `postern agent build` runs it and says which tools to use. What Python prints goes to the log.
set -eu
"$COMPONENTIZE_PY" -q -d wit -w "$WORLD" componentize -p src -p sdk app -o "build/$NAME.wasm"
