  ;; Logs the secret that it uses.
  (data (i32.const 320) "key")
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (call $secret (i32.const 320) (i32.const 3) (i32.const 64))
    (if (i32.load8_u (i32.const 64))
      (then (call $log (i32.const 3) (i32.load (i32.const 68)) (i32.load (i32.const 72)))))
    (call $ok_one (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 2)))
