  ;; Acts out the script that its settings are (a JSON string, or an object with one), one part for each deliver and tick,
  ;; parts separated by "|". A part is steps, each a letter, a blank, an argument and ";":
  ;;   c TARGET  connects; the connection is the one that the other steps use, also in later calls
  ;;   w TEXT    writes the text and CRLF         n COUNT  writes so many zero bytes
  ;;   r MAX     reads                            l MAX    reads a line
  ;;   x         closes                           d        drops
  ;;   t MS      what the steps behind it may take; at first 5000
  ;;   f         the delivery fails: an error
  ;; The text of the next delivered outcome tells what each step gave: its letter, then what was read, or "!N TEXT" for a
  ;; fault, or "-" for a stream that ended before a line, then ";".
  (import "postern:delivery-agent/tcp@0.1.0" "connect" (func $tcp_connect (param i32 i32 i32 i32)))
  (import "postern:delivery-agent/tcp@0.1.0" "[method]connection.read" (func $tcp_read (param i32 i32 i32 i32)))
  (import "postern:delivery-agent/tcp@0.1.0" "[method]connection.read-line" (func $tcp_line (param i32 i32 i32 i32)))
  (import "postern:delivery-agent/tcp@0.1.0" "[method]connection.write" (func $tcp_write (param i32 i32 i32 i32 i32)))
  (import "postern:delivery-agent/tcp@0.1.0" "[method]connection.close" (func $tcp_close (param i32)))
  (import "postern:delivery-agent/tcp@0.1.0" "[resource-drop]connection" (func $tcp_drop (param i32)))
  (global $at (mut i32) (i32.const 0))
  (global $end (mut i32) (i32.const 0))
  (global $connection (mut i32) (i32.const 0))
  (global $patience (mut i32) (i32.const 5000))
  (global $fails (mut i32) (i32.const 0))
  (global $out (mut i32) (i32.const 0))
  (global $out_end (mut i32) (i32.const 0))

  (func $say (param $byte i32)
    (i32.store8 (global.get $out_end) (local.get $byte))
    (global.set $out_end (i32.add (global.get $out_end) (i32.const 1))))
  (func $say_text (param $from i32) (param $length i32)
    ;; More than that would be cut anyway.
    (if (i32.gt_u (local.get $length) (i32.const 300)) (then (local.set $length (i32.const 300))))
    (memory.copy (global.get $out_end) (local.get $from) (local.get $length))
    (global.set $out_end (i32.add (global.get $out_end) (local.get $length))))
  (func $memory (param $length i32) (result i32)
    (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $length)))
  (func $number (param $from i32) (param $length i32) (result i32)
    (local $value i32)
    (block $done
      (loop $digit
        (br_if $done (i32.eqz (local.get $length)))
        (local.set $value (i32.add
          (i32.mul (local.get $value) (i32.const 10))
          (i32.sub (i32.load8_u (local.get $from)) (i32.const 48))))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br $digit)))
    (local.get $value))

  (func $quote_before (param $at i32) (result i32)
    (loop $back
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (br_if $back (i32.ne (i32.load8_u (local.get $at)) (i32.const 34))))
    (local.get $at))

  ;; Whether the result at 64 is a fault, which is then told.
  (func $faulty (result i32)
    (local $case i32)
    (if (i32.eqz (i32.load8_u (i32.const 64))) (then (return (i32.const 0))))
    (local.set $case (i32.load8_u (i32.const 68)))
    (call $say (i32.const 33))
    (call $say (i32.add (i32.const 48) (local.get $case)))
    ;; timeout and closed carry no text
    (if (i32.and (i32.ne (local.get $case) (i32.const 1)) (i32.ne (local.get $case) (i32.const 4)))
      (then
        (call $say (i32.const 32))
        (call $say_text (i32.load (i32.const 72)) (i32.load (i32.const 76)))))
    (i32.const 1))
  (func $write (param $from i32) (param $length i32)
    (call $tcp_write (global.get $connection) (local.get $from) (local.get $length) (global.get $patience)
      (i32.const 64))
    (drop (call $faulty)))

  (func $step (param $op i32) (param $from i32) (param $length i32)
    (local $copy i32)
    (call $say (local.get $op))
    (if (i32.eq (local.get $op) (i32.const 99)) ;; c
      (then
        (call $tcp_connect (local.get $from) (local.get $length) (global.get $patience) (i32.const 64))
        (if (i32.eqz (call $faulty)) (then (global.set $connection (i32.load (i32.const 68)))))))
    (if (i32.eq (local.get $op) (i32.const 119)) ;; w
      (then
        (local.set $copy (call $memory (i32.add (local.get $length) (i32.const 2))))
        (memory.copy (local.get $copy) (local.get $from) (local.get $length))
        (i32.store16 align=1 (i32.add (local.get $copy) (local.get $length)) (i32.const 0x0a0d))
        (call $write (local.get $copy) (i32.add (local.get $length) (i32.const 2)))))
    (if (i32.eq (local.get $op) (i32.const 110)) ;; n
      (then
        (local.set $length (call $number (local.get $from) (local.get $length)))
        (call $write (call $memory (local.get $length)) (local.get $length))))
    (if (i32.eq (local.get $op) (i32.const 114)) ;; r
      (then
        (call $tcp_read (global.get $connection) (call $number (local.get $from) (local.get $length))
          (global.get $patience) (i32.const 64))
        (if (i32.eqz (call $faulty))
          (then (call $say_text (i32.load (i32.const 68)) (i32.load (i32.const 72)))))))
    (if (i32.eq (local.get $op) (i32.const 108)) ;; l
      (then
        (call $tcp_line (global.get $connection) (call $number (local.get $from) (local.get $length))
          (global.get $patience) (i32.const 64))
        (if (i32.eqz (call $faulty))
          (then
            (if (i32.load8_u (i32.const 68))
              (then (call $say_text (i32.load (i32.const 72)) (i32.load (i32.const 76))))
              (else (call $say (i32.const 45))))))))
    (if (i32.eq (local.get $op) (i32.const 120)) (then (call $tcp_close (global.get $connection)))) ;; x
    (if (i32.eq (local.get $op) (i32.const 100)) (then (call $tcp_drop (global.get $connection)))) ;; d
    (if (i32.eq (local.get $op) (i32.const 102)) (then (global.set $fails (i32.const 1)))) ;; f
    (if (i32.eq (local.get $op) (i32.const 116)) ;; t
      (then (global.set $patience (call $number (local.get $from) (local.get $length)))))
    (call $say (i32.const 59)))

  (func $part
    (local $op i32) (local $from i32)
    (if (i32.eqz (global.get $at))
      (then
        (call $settings (i32.const 64))
        ;; What is between the last two quotes.
        (global.set $end
          (call $quote_before (i32.add (i32.load (i32.const 64)) (i32.load (i32.const 68)))))
        (global.set $at (i32.add (call $quote_before (global.get $end)) (i32.const 1)))))
    (if (i32.eqz (global.get $out))
      (then
        (global.set $out (call $memory (i32.const 8192)))
        (global.set $out_end (global.get $out))))
    (block $part
      (loop $next
        (br_if $part (i32.ge_u (global.get $at) (global.get $end)))
        (local.set $op (i32.load8_u (global.get $at)))
        (global.set $at (i32.add (global.get $at) (i32.const 1)))
        (br_if $part (i32.eq (local.get $op) (i32.const 124))) ;; |
        (if (i32.eq (i32.load8_u (global.get $at)) (i32.const 32))
          (then (global.set $at (i32.add (global.get $at) (i32.const 1)))))
        (local.set $from (global.get $at))
        (block $found
          (loop $scan
            (br_if $found (i32.ge_u (global.get $at) (global.get $end)))
            (br_if $found (i32.eq (i32.load8_u (global.get $at)) (i32.const 59)))
            (global.set $at (i32.add (global.get $at) (i32.const 1)))
            (br $scan)))
        (call $step (local.get $op) (local.get $from) (i32.sub (global.get $at) (local.get $from)))
        (global.set $at (i32.add (global.get $at) (i32.const 1)))
        (br $next))))

  (func (export "postern:delivery-agent/session@0.1.0#tick") (result i32)
    (call $part)
    (memory.fill (i32.const 128) (i32.const 0) (i32.const 64))
    (i32.const 128))
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (local $outcome i32)
    (call $drop_item (local.get $item))
    (call $part)
    (if (global.get $fails) (then (return (call $error))))
    (local.set $outcome (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 60)))
    (call $outcome (local.get $outcome) (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 2)
      (global.get $out) (i32.sub (global.get $out_end) (global.get $out)))
    (global.set $out (i32.const 0))
    (call $ok (local.get $outcome) (i32.const 1)))
