  ;; Takes it for granted that its settings are a table.
  (func (export "postern:delivery-agent/agent@0.1.0#open-connection") (param i32 i32 i32 i32 i32 i32) (result i32)
    (call $settings (i32.const 64))
    (if (i32.ne (i32.load8_u (i32.load (i32.const 64))) (i32.const 123)) (then (unreachable)))
    (memory.fill (i32.const 128) (i32.const 0) (i32.const 64))
    (i32.store (i32.const 132) (i32.const 256)) (i32.store (i32.const 136) (i32.const 10))
    (i32.const 128))
