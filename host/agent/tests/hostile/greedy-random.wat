  ;; Asks for a thousand million random bytes.
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (call $random (i32.const 1000000000) (i32.const 64))
    (call $ok (i32.const 0) (i32.const 0)))
