  ;; Never comes back from a tick.
  (func (export "postern:delivery-agent/session@0.1.0#tick") (result i32)
    (call $forever)
    (unreachable))
