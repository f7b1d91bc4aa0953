  ;; POSTs ten bytes to the URL that its settings are (a JSON string), and fails whatever comes back.
  (data (i32.const 320) "POST")
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (call $drop_item (local.get $item))
    (call $settings (i32.const 64))
    (call $send (i32.const 320) (i32.const 4)
      (i32.add (i32.load (i32.const 64)) (i32.const 1)) (i32.sub (i32.load (i32.const 68)) (i32.const 2))
      (i32.const 0) (i32.const 0) (i32.const 256) (i32.const 10) (i32.const 0) (i32.const 0) (i32.const 64))
    (call $error))
