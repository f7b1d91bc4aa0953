  ;; Traps from a call-back that has no body.
  (func (export "postern:delivery-agent/callback@0.1.0#handle")
    (param i32) (param i32) (param i32) (param i32) (param i32) (param i32) (param i32)
    (param i32) (param i32) (param $body i32) (param $length i32) (result i32)
    (if (i32.eqz (local.get $length)) (then (unreachable)))
    (memory.fill (i32.const 128) (i32.const 0) (i32.const 64))
    (i32.store16 offset=4 (i32.const 128) (i32.const 200))
    (i32.const 128))
