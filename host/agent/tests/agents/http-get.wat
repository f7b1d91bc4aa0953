  ;; GETs the URL that its settings are (a JSON string) with a header that asks for a secret. A response makes
  ;; "delivered" with the body as its text; a fault makes "deferred" with the fault's number and text.
  (data (i32.const 320) "GET")
  (data (i32.const 328) "authorization")
  (data (i32.const 344) "Bearer {secret:key}")
  (data (i32.const 368) "0")
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (local $url i32) (local $length i32) (local $at i32) (local $text i32) (local $text_length i32) (local $answer i32)
    (call $drop_item (local.get $item))
    (call $settings (i32.const 64))
    ;; Without the quotes around it.
    (local.set $url (i32.add (i32.load (i32.const 64)) (i32.const 1)))
    (local.set $length (i32.sub (i32.load (i32.const 68)) (i32.const 2)))
    ;; One header field: two texts.
    (i32.store (i32.const 384) (i32.const 328)) (i32.store (i32.const 388) (i32.const 13))
    (i32.store (i32.const 392) (i32.const 344)) (i32.store (i32.const 396) (i32.const 19))
    (call $send (i32.const 320) (i32.const 3) (local.get $url) (local.get $length) (i32.const 384) (i32.const 1)
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 2000) (i32.const 64))
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
