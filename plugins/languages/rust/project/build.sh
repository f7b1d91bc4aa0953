# Makes build/my-agent.core.wasm; `postern agent build` runs it, says which tools to use, and makes a component of that.
set -eu
"$CARGO" build --release --lib --target wasm32-unknown-unknown $CARGO_FLAGS
cp "${CARGO_TARGET_DIR:-target}/wasm32-unknown-unknown/release/my_agent.wasm" "build/$NAME.core.wasm"
