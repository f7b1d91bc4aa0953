  ;; Says what its far end says, byte for byte, wherever an agent can say something. GETs the URL of its settings
  ;; ({"url":"..."}) when a connection is opened and logs the body; the first letter of the destination says where it goes:
  ;;   l  the label                                  r  a refusal of open-connection
  ;;   f  failed: the response, the remote id, names and values of details, among them "remote-mta"
  ;;   d  deferred: the response                     e  an error of deliver
  ;;   q  a refusal in the report
  (global $mode (mut i32) (i32.const 0))
  (global $body (mut i32) (i32.const 0))
  (global $length (mut i32) (i32.const 0))
  (data (i32.const 320) "GET")
  (data (i32.const 328) "remote-mta")
  (func (export "postern:delivery-agent/agent@0.1.0#open-connection")
    (param i32 i32 i32 i32) (param $destination i32) (param i32) (result i32)
    (global.set $mode (i32.load8_u (local.get $destination)))
    (call $settings (i32.const 64))
    ;; Without {"url":" before it and "} behind it.
    (call $send (i32.const 320) (i32.const 3)
      (i32.add (i32.load (i32.const 64)) (i32.const 8)) (i32.sub (i32.load (i32.const 68)) (i32.const 10))
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 5000) (i32.const 64))
    (if (i32.load8_u (i32.const 64)) (then (unreachable)))
    (global.set $body (i32.load (i32.const 80)))
    (global.set $length (i32.load (i32.const 84)))
    (call $log (i32.const 2) (global.get $body) (global.get $length))
    (call $log (i32.const 0) (global.get $body) (global.get $length))
    (memory.fill (i32.const 128) (i32.const 0) (i32.const 64))
    (if (i32.eq (global.get $mode) (i32.const 114)) ;; r: defer-queue, 451 4.0.0
      (then
        (i32.store8 (i32.const 128) (i32.const 1))
        (i32.store16 (i32.const 136) (i32.const 451))
        (i32.store8 (i32.const 138) (i32.const 4))
        (i32.store (i32.const 144) (global.get $body))
        (i32.store (i32.const 148) (global.get $length))
        (return (i32.const 128))))
    (i32.store (i32.const 132) (i32.const 256))
    (i32.store (i32.const 136) (i32.const 10))
    (if (i32.eq (global.get $mode) (i32.const 108)) ;; l
      (then
        (i32.store (i32.const 132) (global.get $body))
        (i32.store (i32.const 136) (global.get $length))))
    (i32.const 128))
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (local $at i32) (local $details i32)
    (call $drop_item (local.get $item))
    (if (i32.eq (global.get $mode) (i32.const 108))
      (then (return (call $ok_one (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 2)))))
    (if (i32.eq (global.get $mode) (i32.const 101)) ;; e
      (then
        (drop (call $error))
        (i32.store (i32.const 132) (global.get $body))
        (i32.store (i32.const 136) (global.get $length))
        (return (i32.const 128))))
    (if (i32.eq (global.get $mode) (i32.const 113)) ;; q: some(defer-queue), 451 4.0.0
      (then
        (drop (call $ok (i32.const 0) (i32.const 0)))
        (i32.store8 (i32.const 148) (i32.const 1))
        (i32.store16 (i32.const 156) (i32.const 451))
        (i32.store8 (i32.const 158) (i32.const 4))
        (i32.store (i32.const 164) (global.get $body))
        (i32.store (i32.const 168) (global.get $length))
        (return (i32.const 128))))
    (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 60)))
    (if (i32.eq (global.get $mode) (i32.const 100)) ;; d
      (then
        (call $outcome (local.get $at) (i32.const 0) (i32.const 4) (i32.const 451) (i32.const 4)
          (global.get $body) (global.get $length))
        (return (call $ok (local.get $at) (i32.const 1)))))
    (call $outcome (local.get $at) (i32.const 0) (i32.const 5) (i32.const 550) (i32.const 5)
      (global.get $body) (global.get $length))
    (local.set $details (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 32)))
    (i32.store (local.get $details) (global.get $body))
    (i32.store offset=4 (local.get $details) (global.get $length))
    (i32.store offset=8 (local.get $details) (global.get $body))
    (i32.store offset=12 (local.get $details) (global.get $length))
    (i32.store offset=16 (local.get $details) (i32.const 328))
    (i32.store offset=20 (local.get $details) (i32.const 10))
    (i32.store offset=24 (local.get $details) (global.get $body))
    (i32.store offset=28 (local.get $details) (global.get $length))
    (i32.store8 offset=40 (local.get $at) (i32.const 1))
    (i32.store offset=44 (local.get $at) (global.get $body))
    (i32.store offset=48 (local.get $at) (global.get $length))
    (i32.store offset=52 (local.get $at) (local.get $details))
    (i32.store offset=56 (local.get $at) (i32.const 2))
    (call $ok (local.get $at) (i32.const 1)))
