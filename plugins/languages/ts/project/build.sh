# Makes build/my-agent.wasm; `postern agent build` runs it and says which tools to use. What QuickJS prints goes to the log.
set -eu
"$TSC" -p .
mkdir -p build/js/sdk
cp sdk/postern.js build/js/sdk/
"$COMPONENTIZE_QJS" --sync -w wit -n "$WORLD" -j build/js/src/agent.js -o "build/$NAME.wasm"
