  ;; Reports a recipient that the item does not have.
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32) (call $ok_one (i32.const 77) (i32.const 0) (i32.const 250) (i32.const 2)))
