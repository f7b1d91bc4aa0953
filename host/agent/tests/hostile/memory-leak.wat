  ;; Takes a page of memory for each item and never gives one back.
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (drop (memory.grow (i32.const 1)))
    (call $ok_one (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 2)))
