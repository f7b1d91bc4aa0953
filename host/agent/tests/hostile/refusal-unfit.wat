  ;; Wants to fail the whole queue, with 250.
  (func (export "postern:delivery-agent/agent@0.1.0#open-connection") (param i32 i32 i32 i32 i32 i32) (result i32)
    (memory.fill (i32.const 128) (i32.const 0) (i32.const 64))
    (i32.store8 (i32.const 128) (i32.const 1))
    (i32.store8 (i32.const 132) (i32.const 1))
    (i32.store16 (i32.const 136) (i32.const 250))
    (i32.store8 (i32.const 138) (i32.const 2))
    (i32.const 128))
