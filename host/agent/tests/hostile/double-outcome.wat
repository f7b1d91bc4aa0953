  ;; Reports its recipient as delivered at once, then as failed in its report.
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (call $report (local.get $item) (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 2))
    (call $ok_one (i32.const 0) (i32.const 5) (i32.const 550) (i32.const 5)))
