  ;; Takes messages with a picture in them, and says so in its description.
  (data (i32.const 320) "image/*")
  ;; The list of media types: one, at 320, of 7 bytes.
  (data (i32.const 328) "\40\01\00\00\07\00\00\00")
  (func (export "postern:delivery-agent/agent@0.1.0#describe") (result i32)
    (memory.fill (i32.const 128) (i32.const 0) (i32.const 64))
    ;; Name, version and protocol are the same text.
    (i32.store (i32.const 128) (i32.const 256)) (i32.store (i32.const 132) (i32.const 10))
    (i32.store (i32.const 136) (i32.const 256)) (i32.store (i32.const 140) (i32.const 10))
    (i32.store (i32.const 144) (i32.const 256)) (i32.store (i32.const 148) (i32.const 10))
    ;; accepts: the list at 328.
    (i32.store (i32.const 152) (i32.const 328)) (i32.store (i32.const 156) (i32.const 1))
    (i32.const 128))
