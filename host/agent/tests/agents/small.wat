  ;; Takes messages of at most 2000 bytes, and says so in its description.
  (func (export "postern:delivery-agent/agent@0.1.0#describe") (result i32)
    (memory.fill (i32.const 128) (i32.const 0) (i32.const 64))
    ;; Name, version and protocol are the same text.
    (i32.store (i32.const 128) (i32.const 256)) (i32.store (i32.const 132) (i32.const 10))
    (i32.store (i32.const 136) (i32.const 256)) (i32.store (i32.const 140) (i32.const 10))
    (i32.store (i32.const 144) (i32.const 256)) (i32.store (i32.const 148) (i32.const 10))
    ;; max-size: some(2000).
    (i32.store8 (i32.const 160) (i32.const 1)) (i32.store (i32.const 164) (i32.const 2000))
    (i32.const 128))
