  ;; What every hand-written agent starts with. Memory below 4096 is scratch: 0..64 for a report's parameters, 64..128
  ;; for what imports return, 128..256 for results, 256.. for texts. The heap starts at 4096 and only goes forward.
  (import "postern:delivery-agent/mail@0.1.0" "[method]item.read" (func $read (param i32 i32 i32 i32)))
  (import "postern:delivery-agent/mail@0.1.0" "[method]item.recipients" (func $recipients (param i32 i32)))
  (import "postern:delivery-agent/mail@0.1.0" "[method]item.report" (func $report_import (param i32)))
  (import "postern:delivery-agent/mail@0.1.0" "[resource-drop]item" (func $drop_item (param i32)))
  (import "postern:delivery-agent/host@0.1.0" "log" (func $log (param i32 i32 i32)))
  (import "postern:delivery-agent/host@0.1.0" "settings" (func $settings (param i32)))
  (import "postern:delivery-agent/host@0.1.0" "random" (func $random (param i32 i32)))
  (import "postern:delivery-agent/host@0.1.0" "secret" (func $secret (param i32 i32 i32)))
  (import "postern:delivery-agent/http@0.1.0" "send"
    (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (global $heap (mut i32) (i32.const 4096))
  (data (i32.const 256) "test agent")
  (data (i32.const 272) "done")
  (data (i32.const 288) "protocol-error")

  (func $realloc (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32)
    (result i32)
    (local $at i32)
    (local.set $at (i32.and
      (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
      (i32.xor (i32.sub (local.get $align) (i32.const 1)) (i32.const -1))))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
      (then
        (if (i32.eq (i32.const -1) (memory.grow
              (i32.add (i32.const 1) (i32.div_u (local.get $size) (i32.const 65536)))))
          (then (unreachable)))))
    (memory.copy (local.get $at) (local.get $old) (local.get $old_size))
    (local.get $at))

  ;; Writes a recipient-outcome of 60 bytes at $at. $case: 0 delivered, 1 relayed, 2 expanded, 3 accepted, 4 deferred,
  ;; 5 failed. The text is $text_length bytes from $text.
  (func $outcome (param $at i32) (param $recipient i32) (param $case i32) (param $code i32) (param $class i32)
    (param $text i32) (param $text_length i32)
    (memory.fill (local.get $at) (i32.const 0) (i32.const 60))
    (i32.store (local.get $at) (local.get $recipient))
    (i32.store8 offset=4 (local.get $at) (local.get $case))
    (i32.store16 offset=8 (local.get $at) (local.get $code))
    (i32.store8 offset=10 (local.get $at) (local.get $class))
    (i32.store offset=16 (local.get $at) (local.get $text))
    (i32.store offset=20 (local.get $at) (local.get $text_length)))

  ;; item.report of a recipient.
  (func $report (param $item i32) (param $recipient i32) (param $case i32) (param $code i32) (param $class i32)
    (i32.store (i32.const 0) (local.get $item))
    (call $outcome (i32.const 4) (local.get $recipient) (local.get $case) (local.get $code) (local.get $class)
      (i32.const 272) (i32.const 4))
    (call $report_import (i32.const 0)))

  ;; The result of deliver: a report with $count outcomes from $at.
  (func $ok (param $at i32) (param $count i32) (result i32)
    (memory.fill (i32.const 128) (i32.const 0) (i32.const 64))
    (i32.store (i32.const 132) (local.get $at))
    (i32.store (i32.const 136) (local.get $count))
    (i32.const 128))

  ;; The result of deliver: a report with one outcome.
  (func $ok_one (param $recipient i32) (param $case i32) (param $code i32) (param $class i32) (result i32)
    (local $at i32)
    (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 60)))
    (call $outcome (local.get $at) (local.get $recipient) (local.get $case) (local.get $code) (local.get $class)
      (i32.const 272) (i32.const 4))
    (call $ok (local.get $at) (i32.const 1)))

  ;; The result of a call that returns result<_, string>: the error "test agent".
  (func $error (result i32)
    (memory.fill (i32.const 128) (i32.const 0) (i32.const 64))
    (i32.store8 (i32.const 128) (i32.const 1))
    (i32.store (i32.const 132) (i32.const 256))
    (i32.store (i32.const 136) (i32.const 10))
    (i32.const 128))

  (func $forever (loop $again (br $again)))
