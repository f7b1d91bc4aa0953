  ;; Reports its recipient as delivered, whatever became of its request.
  (data (i32.const 320) "GET")
  (data (i32.const 336) "http://127.0.0.1/")
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (call $send (i32.const 320) (i32.const 3) (i32.const 336) (i32.const 17) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))
    (call $ok_one (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 2)))
