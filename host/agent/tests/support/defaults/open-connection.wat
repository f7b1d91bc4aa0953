  (func (export "postern:delivery-agent/agent@0.1.0#open-connection") (param i32 i32 i32 i32 i32 i32) (result i32)
    (memory.fill (i32.const 128) (i32.const 0) (i32.const 64))
    (i32.store (i32.const 132) (i32.const 256)) (i32.store (i32.const 136) (i32.const 10))
    (i32.const 128))
