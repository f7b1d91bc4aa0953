  ;; Keeps the first item that it gets and reports about it when it gets the second.
  (global $kept (mut i32) (i32.const 0))
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (if (i32.eqz (global.get $kept))
      (then
        (global.set $kept (local.get $item))
        (return (call $ok_one (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 2)))))
    (call $report (global.get $kept) (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 2))
    (call $ok (i32.const 0) (i32.const 0)))
