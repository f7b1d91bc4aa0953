  ;; Never returns from close-connection.
  (func (export "postern:delivery-agent/agent@0.1.0#close-connection") (result i32) (call $forever) (unreachable))
