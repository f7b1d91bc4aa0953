  ;; GETs the URL that its settings are (a JSON string) with a header that asks for a secret. A response makes
  ;; "delivered" with the body as its text; a fault makes "deferred" with the fault's number and text.
  ;;
  ;; Settings may say more: "URL NAME=VALUE" sends this header field instead, in which "~", "^" and "`" stand for CR, LF
  ;; and NUL; ">URL" follows one redirect, whose header must begin with `location`.
  (data (i32.const 320) "GET")
  (data (i32.const 328) "authorization")
  (data (i32.const 344) "Bearer {secret:key}")

  ;; The offset of a byte in a text, or its length.
  (func $find (param $from i32) (param $length i32) (param $byte i32) (result i32)
    (local $at i32)
    (block $found
      (loop $next
        (br_if $found (i32.ge_u (local.get $at) (local.get $length)))
        (br_if $found (i32.eq (local.get $byte) (i32.load8_u (i32.add (local.get $from) (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (local.get $at))
  ;; Puts $new wherever $old stands.
  (func $replace (param $from i32) (param $length i32) (param $old i32) (param $new i32)
    (local $at i32)
    (block $done
      (loop $next
        (local.set $at (call $find (local.get $from) (local.get $length) (local.get $old)))
        (br_if $done (i32.eq (local.get $at) (local.get $length)))
        (i32.store8 (i32.add (local.get $from) (local.get $at)) (local.get $new))
        (br $next))))
  ;; The name and value of the field that is sent: 384 and 392.
  (func $field (param $name i32) (param $name_length i32) (param $value i32) (param $value_length i32)
    (i32.store (i32.const 384) (local.get $name)) (i32.store (i32.const 388) (local.get $name_length))
    (i32.store (i32.const 392) (local.get $value)) (i32.store (i32.const 396) (local.get $value_length)))
  (func $get (param $url i32) (param $length i32)
    (call $send (i32.const 320) (i32.const 3) (local.get $url) (local.get $length) (i32.const 384) (i32.const 1)
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 2000) (i32.const 64)))

  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (local $url i32) (local $length i32) (local $at i32) (local $text i32) (local $text_length i32) (local $answer i32)
    (local $follow i32) (local $end i32) (local $name i32) (local $name_length i32)
    (call $drop_item (local.get $item))
    (call $settings (i32.const 64))
    ;; Without the quotes around it.
    (local.set $url (i32.add (i32.load (i32.const 64)) (i32.const 1)))
    (local.set $length (i32.sub (i32.load (i32.const 68)) (i32.const 2)))
    (local.set $end (i32.add (local.get $url) (local.get $length)))
    (call $field (i32.const 328) (i32.const 13) (i32.const 344) (i32.const 19))
    (local.set $follow (i32.eq (i32.load8_u (local.get $url)) (i32.const 62)))
    (local.set $url (i32.add (local.get $url) (local.get $follow)))
    (local.set $length (call $find (local.get $url) (i32.sub (local.get $end) (local.get $url)) (i32.const 32)))
    (local.set $name (i32.add (i32.add (local.get $url) (local.get $length)) (i32.const 1)))
    (if (i32.lt_u (local.get $name) (local.get $end))
      (then
        (local.set $name_length
          (call $find (local.get $name) (i32.sub (local.get $end) (local.get $name)) (i32.const 61)))
        (local.set $text (i32.sub (local.get $end) (local.get $name)))
        (call $replace (local.get $name) (local.get $text) (i32.const 126) (i32.const 13))
        (call $replace (local.get $name) (local.get $text) (i32.const 94) (i32.const 10))
        (call $replace (local.get $name) (local.get $text) (i32.const 96) (i32.const 0))
        (local.set $text (i32.add (i32.add (local.get $name) (local.get $name_length)) (i32.const 1)))
        (call $field (local.get $name) (local.get $name_length) (local.get $text)
          (i32.sub (local.get $end) (local.get $text)))))
    (call $get (local.get $url) (local.get $length))
    (if (i32.and (local.get $follow)
          (i32.and (i32.eqz (i32.load8_u (i32.const 64))) (i32.eq (i32.load16_u (i32.const 68)) (i32.const 302))))
      (then (call $get
        (i32.load offset=8 (i32.load (i32.const 72)))
        (i32.load offset=12 (i32.load (i32.const 72))))))
    (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 60)))
    (if (i32.load8_u (i32.const 64))
      (then
        ;; "N text": the text may be empty.
        (local.set $text_length (i32.load (i32.const 76)))
        (if (i32.gt_u (local.get $text_length) (i32.const 400)) (then (local.set $text_length (i32.const 0))))
        (local.set $answer (i32.load8_u (i32.const 68)))
        ;; timeout and too-large carry no text.
        (if (i32.or (i32.eq (local.get $answer) (i32.const 1)) (i32.eq (local.get $answer) (i32.const 4)))
          (then (local.set $text_length (i32.const 0))))
        (local.set $text (call $realloc (i32.const 0) (i32.const 0) (i32.const 1)
          (i32.add (local.get $text_length) (i32.const 2))))
        (i32.store8 (local.get $text) (i32.add (i32.const 48) (local.get $answer)))
        (i32.store8 offset=1 (local.get $text) (i32.const 32))
        (memory.copy (i32.add (local.get $text) (i32.const 2)) (i32.load (i32.const 72)) (local.get $text_length))
        (call $outcome (local.get $at) (i32.const 0) (i32.const 4) (i32.const 451) (i32.const 4)
          (local.get $text) (i32.add (local.get $text_length) (i32.const 2))))
      (else
        (call $outcome (local.get $at) (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 2)
          (i32.load (i32.const 80)) (i32.load (i32.const 84)))))
    (call $ok (local.get $at) (i32.const 1)))
