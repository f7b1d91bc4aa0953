  ;; Reports the first half of its recipients at once, then traps.
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (local $i i32) (local $half i32) (local $list i32)
    (call $recipients (local.get $item) (i32.const 64))
    (local.set $list (i32.load (i32.const 64)))
    (local.set $half (i32.div_u (i32.load (i32.const 68)) (i32.const 2)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $half)))
        (call $report (local.get $item)
          (i32.load (i32.add (local.get $list) (i32.mul (local.get $i) (i32.const 68))))
          (i32.const 0) (i32.const 250) (i32.const 2))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (unreachable))
