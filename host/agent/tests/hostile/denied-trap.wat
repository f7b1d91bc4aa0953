  ;; Dies of a request that is denied, and logs a word about it before.
  (data (i32.const 320) "GET")
  (data (i32.const 336) "http://127.0.0.1/")
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (call $send (i32.const 320) (i32.const 3) (i32.const 336) (i32.const 17) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))
    (if (i32.load8_u (i32.const 64))
      (then (call $log (i32.const 0) (i32.const 272) (i32.const 4)) (unreachable)))
    (call $ok_one (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 2)))
