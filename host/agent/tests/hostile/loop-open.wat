  ;; Never returns from open-connection.
  (func (export "postern:delivery-agent/agent@0.1.0#open-connection") (param i32 i32 i32 i32 i32 i32) (result i32) (call $forever) (unreachable))
