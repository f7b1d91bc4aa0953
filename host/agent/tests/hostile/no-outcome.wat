  ;; Returns an empty report.
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32) (call $ok (i32.const 0) (i32.const 0)))
