  ;; Reports the first item of a batch at once, then traps.
  (func (export "postern:delivery-agent/batch@0.1.0#deliver-batch") (param $items i32) (param $count i32) (result i32)
    (call $report (i32.load (local.get $items)) (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 2))
    (unreachable))
