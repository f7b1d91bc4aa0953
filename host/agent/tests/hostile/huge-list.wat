  ;; Claims to report two thousand million outcomes.
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32) (call $ok (i32.const 4096) (i32.const 2000000000)))
