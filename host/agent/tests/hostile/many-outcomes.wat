  ;; Reports thirty thousand outcomes, all for recipients that are not there but the last, which comes too late.
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (local $at i32) (local $i i32)
    (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 1800000)))
    (loop $next
      (call $outcome (i32.add (local.get $at) (i32.mul (local.get $i) (i32.const 60)))
        (i32.sub (i32.const 29999) (local.get $i)) (i32.const 0) (i32.const 250) (i32.const 2)
        (i32.const 272) (i32.const 4))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 30000))))
    (call $ok (local.get $at) (i32.const 30000)))
