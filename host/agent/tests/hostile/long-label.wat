  ;; Calls its far end by a name of a thousand bytes in two lines.
  (func (export "postern:delivery-agent/agent@0.1.0#open-connection") (param i32 i32 i32 i32 i32 i32) (result i32)
    (local $label i32)
    (local.set $label (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1000)))
    (memory.fill (local.get $label) (i32.const 120) (i32.const 1000))
    (i32.store8 offset=500 (local.get $label) (i32.const 10))
    (memory.fill (i32.const 128) (i32.const 0) (i32.const 64))
    (i32.store (i32.const 132) (local.get $label)) (i32.store (i32.const 136) (i32.const 1000))
    (i32.const 128))
