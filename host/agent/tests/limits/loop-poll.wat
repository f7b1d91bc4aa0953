  ;; Never comes back from receipts.poll.
  (func (export "postern:delivery-agent/receipts@0.1.0#poll") (param i32 i32) (result i32)
    (call $forever)
    (unreachable))
