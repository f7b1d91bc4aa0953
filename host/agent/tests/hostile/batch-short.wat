  ;; Answers a batch with no report at all.
  (func (export "postern:delivery-agent/batch@0.1.0#deliver-batch") (param $items i32) (param $count i32) (result i32)
    (call $ok (i32.const 0) (i32.const 0)))
