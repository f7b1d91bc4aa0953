  ;; Grows a table until it is refused, then dies of it.
  (table $grown 1 funcref)
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (loop $more (br_if $more
      (i32.ne (i32.const -1) (table.grow $grown (ref.null func) (i32.const 1000)))))
    (unreachable))
