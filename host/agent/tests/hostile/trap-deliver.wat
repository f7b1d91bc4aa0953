  ;; Traps from deliver.
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param i32) (result i32) (unreachable))
