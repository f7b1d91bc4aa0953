  ;; Reports "accepted" without a receipt id to wait for. Here the id list lies where other outcomes have their code.
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (local $at i32)
    (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 60)))
    (call $outcome (local.get $at) (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (i32.store16 offset=16 (local.get $at) (i32.const 250))
    (i32.store8 offset=18 (local.get $at) (i32.const 2))
    (call $ok (local.get $at) (i32.const 1)))
