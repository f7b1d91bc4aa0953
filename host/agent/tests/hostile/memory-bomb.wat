  ;; Grows its memory until it is refused, then dies of it as a language's allocator would.
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (loop $more (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 16)))))
    (unreachable))
