  ;; Refuses settings that are no table, and does not say that they are the reason.
  (func (export "postern:delivery-agent/agent@0.1.0#open-connection") (param i32 i32 i32 i32 i32 i32) (result i32)
    (call $settings (i32.const 64))
    (if (i32.ne (i32.load8_u (i32.load (i32.const 64))) (i32.const 123))
      (then
        (memory.fill (i32.const 128) (i32.const 0) (i32.const 64))
        (i32.store8 (i32.const 128) (i32.const 1))
        (i32.store16 (i32.const 136) (i32.const 451))
        (i32.store8 (i32.const 138) (i32.const 4))
        (i32.store (i32.const 144) (i32.const 272)) (i32.store (i32.const 148) (i32.const 4))
        (return (i32.const 128))))
    (memory.fill (i32.const 128) (i32.const 0) (i32.const 64))
    (i32.store (i32.const 132) (i32.const 256)) (i32.store (i32.const 136) (i32.const 10))
    (i32.const 128))
