  ;; Hands the host a log line of forty million bytes.
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (local $text i32)
    (local.set $text (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 40000000)))
    (memory.fill (local.get $text) (i32.const 120) (i32.const 40000000))
    (call $log (i32.const 2) (local.get $text) (i32.const 40000000))
    (call $ok (i32.const 0) (i32.const 0)))
