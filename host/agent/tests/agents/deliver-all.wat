  ;; Reads every byte of the item, as eight-byte words, and reports every recipient as delivered.
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (local $count i32) (local $list i32) (local $outcomes i32) (local $mark i32)
    (local $offset i32) (local $at i32) (local $length i32) (local $end i32) (local $sum i64) (local $i i32)
    (global.set $heap (i32.const 4096))
    (call $recipients (local.get $item) (i32.const 64))
    (local.set $list (i32.load (i32.const 64)))
    (local.set $count (i32.load (i32.const 68)))
    (local.set $outcomes (call $realloc (i32.const 0) (i32.const 0) (i32.const 4)
      (i32.mul (local.get $count) (i32.const 60))))
    (local.set $mark (global.get $heap))
    (block $done
      (loop $more
        (global.set $heap (local.get $mark))
        (call $read (local.get $item) (local.get $offset) (i32.const 65536) (i32.const 64))
        (if (i32.load8_u (i32.const 64)) (then (return (call $error))))
        (local.set $at (i32.load (i32.const 68)))
        (local.set $length (i32.load (i32.const 72)))
        (local.set $end (i32.add (local.get $at) (local.get $length)))
        (block $read_all
          (loop $word
            (br_if $read_all (i32.gt_u (i32.add (local.get $at) (i32.const 8)) (local.get $end)))
            (local.set $sum (i64.xor (local.get $sum) (i64.load align=1 (local.get $at))))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br $word)))
        (block $tail
          (loop $byte
            (br_if $tail (i32.ge_u (local.get $at) (local.get $end)))
            (local.set $sum (i64.xor (local.get $sum) (i64.load8_u (local.get $at))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $byte)))
        (local.set $offset (i32.add (local.get $offset) (local.get $length)))
        (br_if $done (i32.lt_u (local.get $length) (i32.const 65536)))
        (br $more)))
    (block $all
      (loop $next
        (br_if $all (i32.ge_u (local.get $i) (local.get $count)))
        (call $outcome
          (i32.add (local.get $outcomes) (i32.mul (local.get $i) (i32.const 60)))
          (i32.load (i32.add (local.get $list) (i32.mul (local.get $i) (i32.const 68))))
          (i32.const 0) (i32.const 250) (i32.const 2) (i32.const 272) (i32.const 4))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (call $drop_item (local.get $item))
    ;; The sum is stored, so that no compiler may leave the reading out.
    (i64.store (i32.const 512) (local.get $sum))
    (call $ok (local.get $outcomes) (local.get $count)))
