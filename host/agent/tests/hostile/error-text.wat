  ;; Fails to deliver with a text.
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32) (call $drop_item (local.get $item)) (call $error))
