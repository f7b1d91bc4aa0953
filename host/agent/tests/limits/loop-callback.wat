  ;; Never comes back from a call-back.
  (func (export "postern:delivery-agent/callback@0.1.0#handle")
    (param i32) (param i32) (param i32) (param i32) (param i32) (param i32) (param i32)
    (param i32) (param i32) (param i32) (param i32) (result i32)
    (call $forever)
    (unreachable))
