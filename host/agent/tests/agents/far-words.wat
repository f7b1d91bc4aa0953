  ;; An agent whose far end says in a few letters what became of things.
  ;;
  ;; deliver: every recipient is accepted; its receipt id is the first two bytes of its address.
  ;; poll: GETs the URL that stands alone in the settings ({"url":"..."}), whatever it is asked about. The body is a JSON
  ;; string of words without a space between: two bytes of id, one of d (delivered), f (failed), r (retry) or p (pending),
  ;; two digits, and an address of so many bytes; 00: none.
  (data (i32.const 320) "GET")
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (local $list i32) (local $count i32) (local $outcomes i32) (local $at i32) (local $ids i32) (local $i i32)
    (call $recipients (local.get $item) (i32.const 64))
    (local.set $list (i32.load (i32.const 64)))
    (local.set $count (i32.load (i32.const 68)))
    (local.set $outcomes (call $realloc (i32.const 0) (i32.const 0) (i32.const 4)
      (i32.mul (local.get $count) (i32.const 60))))
    (block $all
      (loop $next
        (br_if $all (i32.ge_u (local.get $i) (local.get $count)))
        (local.set $at (i32.add (local.get $outcomes) (i32.mul (local.get $i) (i32.const 60))))
        (memory.fill (local.get $at) (i32.const 0) (i32.const 60))
        ;; The index.
        (i32.store (local.get $at) (i32.load (local.get $list)))
        ;; accepted: a list of one id, and the response 250 2.0.0 "done".
        (i32.store8 offset=4 (local.get $at) (i32.const 3))
        (local.set $ids (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 8)))
        (i32.store (local.get $ids) (i32.load offset=12 (local.get $list)))
        (i32.store offset=4 (local.get $ids) (i32.const 2))
        (i32.store offset=8 (local.get $at) (local.get $ids))
        (i32.store offset=12 (local.get $at) (i32.const 1))
        (i32.store16 offset=16 (local.get $at) (i32.const 250))
        (i32.store8 offset=18 (local.get $at) (i32.const 2))
        (i32.store offset=24 (local.get $at) (i32.const 272))
        (i32.store offset=28 (local.get $at) (i32.const 4))
        (local.set $list (i32.add (local.get $list) (i32.const 68)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (call $drop_item (local.get $item))
    (call $ok (local.get $outcomes) (local.get $count)))

  (func (export "postern:delivery-agent/receipts@0.1.0#poll") (param $ids i32) (param $count i32) (result i32)
    (local $url i32) (local $text i32) (local $end i32) (local $list i32) (local $at i32) (local $told i32)
    (local $word i32) (local $length i32)
    (call $settings (i32.const 64))
    ;; Without {"url":" before it and "} behind it.
    (local.set $url (i32.add (i32.load (i32.const 64)) (i32.const 8)))
    (call $send (i32.const 320) (i32.const 3)
      (local.get $url) (i32.sub (i32.load (i32.const 68)) (i32.const 10))
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 5000) (i32.const 64))
    (if (i32.load8_u (i32.const 64)) (then (return (call $error))))
    ;; A far end that has nothing to say answers 404.
    (if (i32.ne (i32.load16_u (i32.const 68)) (i32.const 200)) (then (return (call $ok (i32.const 0) (i32.const 0)))))
    ;; The body without its quotes.
    (local.set $text (i32.add (i32.load (i32.const 80)) (i32.const 1)))
    (local.set $end (i32.sub (i32.add (i32.load (i32.const 80)) (i32.load (i32.const 84))) (i32.const 1)))
    ;; No word is shorter than five bytes, and a receipt has 64.
    (local.set $list (call $realloc (i32.const 0) (i32.const 0) (i32.const 4)
      (i32.mul (i32.const 64) (i32.div_u (i32.load (i32.const 84)) (i32.const 5)))))
    (local.set $at (local.get $list))
    (block $all
      (loop $next
        (br_if $all (i32.ge_u (local.get $text) (local.get $end)))
        (memory.fill (local.get $at) (i32.const 0) (i32.const 64))
        (i32.store (local.get $at) (local.get $text))
        (i32.store offset=4 (local.get $at) (i32.const 2))
        (local.set $word (i32.load8_u offset=2 (local.get $text)))
        (local.set $length (i32.add
          (i32.mul (i32.const 10) (i32.sub (i32.load8_u offset=3 (local.get $text)) (i32.const 48)))
          (i32.sub (i32.load8_u offset=4 (local.get $text)) (i32.const 48))))
        (local.set $text (i32.add (local.get $text) (i32.const 5)))
        (if (local.get $length)
          (then
            (i32.store8 offset=8 (local.get $at) (i32.const 1))
            (i32.store offset=12 (local.get $at) (local.get $text))
            (i32.store offset=16 (local.get $at) (local.get $length))))
        (local.set $text (i32.add (local.get $text) (local.get $length)))
        ;; The state: pending, or what the letter says, with a response whose code fits.
        (i32.store16 offset=24 (local.get $at) (i32.const 250))
        (i32.store8 offset=26 (local.get $at) (i32.const 2))
        (i32.store offset=32 (local.get $at) (i32.const 272))
        (i32.store offset=36 (local.get $at) (i32.const 4))
        (if (i32.eq (local.get $word) (i32.const 100)) (then (i32.store8 offset=20 (local.get $at) (i32.const 1))))
        (if (i32.eq (local.get $word) (i32.const 102))
          (then
            (i32.store8 offset=20 (local.get $at) (i32.const 2))
            (i32.store16 offset=24 (local.get $at) (i32.const 550))
            (i32.store8 offset=26 (local.get $at) (i32.const 5))))
        (if (i32.eq (local.get $word) (i32.const 114))
          (then
            (i32.store8 offset=20 (local.get $at) (i32.const 3))
            (i32.store16 offset=24 (local.get $at) (i32.const 450))
            (i32.store8 offset=26 (local.get $at) (i32.const 4))))
        (local.set $at (i32.add (local.get $at) (i32.const 64)))
        (local.set $told (i32.add (local.get $told) (i32.const 1)))
        (br $next)))
    (call $ok (local.get $list) (local.get $told)))
