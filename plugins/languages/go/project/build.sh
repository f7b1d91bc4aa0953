# Makes build/my-agent.core.wasm; `postern agent build` runs it, says which tools to use, and makes a component of that.
set -eu
mkdir -p gen/export_postern_delivery_agent_agent
cp sdk/glue/glue.go gen/export_postern_delivery_agent_agent/
# Cleanups run when the runtime likes, also where a component may call nothing: the glue drops what it gets itself.
for interface in mail tcp; do
    folder=gen/postern_delivery_agent_$interface
    sed 's/runtime\.AddCleanup(/noCleanup(/' "$folder/wit_bindings.go" >build/bindings.go
    mv build/bindings.go "$folder/wit_bindings.go"
    printf 'package postern_delivery_agent_%s\n\nfunc noCleanup(any, func(int), int) {}\n' $interface >"$folder/no_cleanup.go"
done
cat >gen/go.mod <<'MOD'
module wit_component

go 1.25

require (
	go.bytecodealliance.org/pkg v0.2.2
	my-agent v0.0.0
)

replace go.bytecodealliance.org/pkg => ../sdk/pkg

replace my-agent => ..
MOD
cd gen
# Nothing is fetched: all that is needed is here. Go's runtime is reached by a name that newer compilers hide.
GOOS=wasip1 GOARCH=wasm GOPROXY=off GOTOOLCHAIN=local GOFLAGS=-mod=mod GOWORK=off \
    "$GO" build -trimpath -buildmode=c-shared -ldflags='-s -w -checklinkname=0' -o "../build/$NAME.core.wasm" .
