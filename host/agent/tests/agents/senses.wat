  ;; Does what each byte behind the first "#" of the message says, as far as ";", and tells what it got:
  ;;   w  WASI's wall clock: "0" for a whole second, else "1"    m  the same of the monotonic clock
  ;;   h  the same of host.now                                   l  the milliseconds left beyond whole seconds
  ;;   R  resolutions of both clocks, "1" where both are a second
  ;;   b  waits for the next moment of the monotonic clock, then whether the clock says that it has come
  ;;   d  waits a millisecond
  ;;   r  a number of wasi:random, i of wasi:random/insecure, H of host.random: "x"
  ;;   s  the seed for hash tables: "0" for a constant, else "1"
  (import "wasi:clocks/wall-clock@0.2.0" "now" (func $wall (param i32)))
  (import "wasi:clocks/wall-clock@0.2.0" "resolution" (func $wall_step (param i32)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $mono (result i64)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "resolution" (func $mono_step (result i64)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-instant" (func $at_instant (param i64) (result i32)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $in_a_while (param i64) (result i32)))
  (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:io/poll@0.2.0" "[resource-drop]pollable" (func $drop_pollable (param i32)))
  (import "wasi:random/random@0.2.0" "get-random-u64" (func $random_u64 (result i64)))
  (import "wasi:random/insecure@0.2.0" "get-insecure-random-u64" (func $insecure_u64 (result i64)))
  (import "wasi:random/insecure-seed@0.2.0" "insecure-seed" (func $seed (param i32)))
  (import "postern:delivery-agent/host@0.1.0" "now" (func $host_now (param i32)))
  (import "postern:delivery-agent/host@0.1.0" "remaining-ms" (func $left (result i32)))
  (global $out_end (mut i32) (i32.const 512))
  (func $say (param $byte i32)
    (i32.store8 (global.get $out_end) (local.get $byte))
    (global.set $out_end (i32.add (global.get $out_end) (i32.const 1))))
  (func $say_whether (param $yes i32) (call $say (i32.add (i32.const 48) (local.get $yes))))
  (func $say_number (param $value i32)
    (if (i32.ge_u (local.get $value) (i32.const 10))
      (then (call $say_number (i32.div_u (local.get $value) (i32.const 10)))))
    (call $say (i32.add (i32.const 48) (i32.rem_u (local.get $value) (i32.const 10)))))
  (func $wait (param $pollable i32)
    (call $block (local.get $pollable))
    (call $drop_pollable (local.get $pollable)))

  (func $act (param $op i32)
    (local $when i64)
    (if (i32.eq (local.get $op) (i32.const 119)) ;; w
      (then
        (call $wall (i32.const 64))
        ;; A clock that stands at 0 is none.
        (if (i64.eqz (i64.load (i32.const 64))) (then (unreachable)))
        (call $say_whether (i32.ne (i32.load (i32.const 72)) (i32.const 0)))))
    (if (i32.eq (local.get $op) (i32.const 109)) ;; m
      (then (call $say_whether (i64.ne (i64.rem_u (call $mono) (i64.const 1000000000)) (i64.const 0)))))
    (if (i32.eq (local.get $op) (i32.const 104)) ;; h
      (then
        (call $host_now (i32.const 64))
        (if (i32.eqz (i32.load (i32.const 64))) (then (unreachable)))
        (call $say_whether (i32.ne (i32.load (i32.const 68)) (i32.const 0)))))
    (if (i32.eq (local.get $op) (i32.const 108)) ;; l
      (then (call $say_number (i32.rem_u (call $left) (i32.const 1000)))))
    (if (i32.eq (local.get $op) (i32.const 82)) ;; R
      (then
        (call $wall_step (i32.const 64))
        (call $say_whether (i32.and
          (i64.eq (i64.load (i32.const 64)) (i64.const 1))
          (i64.eq (call $mono_step) (i64.const 1000000000))))))
    (if (i32.eq (local.get $op) (i32.const 98)) ;; b
      (then
        (local.set $when (i64.add (call $mono) (i64.const 1)))
        (call $wait (call $at_instant (local.get $when)))
        (call $say_whether (i64.ge_u (call $mono) (local.get $when)))))
    (if (i32.eq (local.get $op) (i32.const 100)) ;; d
      (then (call $wait (call $in_a_while (i64.const 1000000))) (call $say (i32.const 100))))
    (if (i32.eq (local.get $op) (i32.const 114)) ;; r
      (then (drop (call $random_u64)) (call $say (i32.const 120))))
    (if (i32.eq (local.get $op) (i32.const 105)) ;; i
      (then (drop (call $insecure_u64)) (call $say (i32.const 120))))
    (if (i32.eq (local.get $op) (i32.const 72)) ;; H
      (then (call $random (i32.const 8) (i32.const 64)) (call $say (i32.const 120))))
    (if (i32.eq (local.get $op) (i32.const 115)) ;; s
      (then
        (call $seed (i32.const 64))
        (call $say_whether (i64.ne
          (i64.or (i64.load (i32.const 64)) (i64.load (i32.const 72)))
          (i64.const 0))))))

  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (local $at i32) (local $outcome i32)
    (global.set $out_end (i32.const 512))
    (call $read (local.get $item) (i32.const 0) (i32.const 65536) (i32.const 64))
    (call $drop_item (local.get $item))
    (local.set $at (i32.load (i32.const 68)))
    (loop $seek
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $seek (i32.ne (i32.load8_u (i32.sub (local.get $at) (i32.const 1))) (i32.const 35))))
    (block $done
      (loop $next
        (br_if $done (i32.eq (i32.load8_u (local.get $at)) (i32.const 59)))
        (call $act (i32.load8_u (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (local.set $outcome (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 60)))
    (call $outcome (local.get $outcome) (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 2)
      (i32.const 512) (i32.sub (global.get $out_end) (i32.const 512)))
    (call $ok (local.get $outcome) (i32.const 1)))
