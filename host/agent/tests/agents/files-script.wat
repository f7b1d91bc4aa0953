  ;; Acts out the script that stands behind the first "#" of the message, in the folders that it was given. Steps end with
  ;; ";" and are a letter, the number of a folder in the order of the grants (m takes two), a blank, and arguments:
  ;;   r PATH       reads once                        R PATH       reads a stream to its end; tells how many bytes
  ;;   w PATH=TEXT  makes or empties, writes          e PATH       makes what must not be there
  ;;   a PATH=TEXT  appends through a stream          A PATH=COUNT appends so many zero bytes through a stream
  ;;   z PATH=COUNT writes so many zero bytes         p PATH=AT    writes one byte there
  ;;   t PATH=SIZE  sets the size                     d PATH       lists
  ;;   k PATH       makes a folder                    u PATH       deletes a file
  ;;   l PATH=NEW   makes a hard link                 y TO=PATH    makes a symbolic link
  ;;   m PATH=NEW   renames, from one folder into another
  ;;   L PATH       reads a link                      o PATH       opens and leaves it open
  ;;   f PATH       reads for ever                    X            the delivery fails: an error
  ;;   s PATH       makes a stream, leaves it open    g PATH=COUNT appends so many zero bytes twice, through two streams
  ;; The text of the delivered outcome tells what each step gave: its letter, then what there is to tell, or "!NN" for an
  ;; error with the number of its code, then ";".
  (import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $directories (param i32)))
  (import "wasi:filesystem/types@0.2.0" "[method]descriptor.open-at" (func $open_at (param i32 i32 i32 i32 i32 i32 i32)))
  (import "wasi:filesystem/types@0.2.0" "[method]descriptor.read" (func $fd_read (param i32 i64 i64 i32)))
  (import "wasi:filesystem/types@0.2.0" "[method]descriptor.write" (func $fd_write (param i32 i32 i32 i64 i32)))
  (import "wasi:filesystem/types@0.2.0" "[method]descriptor.set-size" (func $set_size (param i32 i64 i32)))
  (import "wasi:filesystem/types@0.2.0" "[method]descriptor.read-via-stream" (func $input (param i32 i64 i32)))
  (import "wasi:filesystem/types@0.2.0" "[method]descriptor.append-via-stream" (func $append (param i32 i32)))
  (import "wasi:filesystem/types@0.2.0" "[method]descriptor.read-directory" (func $list (param i32 i32)))
  (import "wasi:filesystem/types@0.2.0" "[method]descriptor.create-directory-at" (func $mkdir (param i32 i32 i32 i32)))
  (import "wasi:filesystem/types@0.2.0" "[method]descriptor.unlink-file-at" (func $unlink (param i32 i32 i32 i32)))
  (import "wasi:filesystem/types@0.2.0" "[method]descriptor.readlink-at" (func $readlink (param i32 i32 i32 i32)))
  (import "wasi:filesystem/types@0.2.0" "[method]descriptor.symlink-at" (func $symlink (param i32 i32 i32 i32 i32 i32)))
  (import "wasi:filesystem/types@0.2.0" "[method]descriptor.link-at" (func $link (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "wasi:filesystem/types@0.2.0" "[method]descriptor.rename-at" (func $rename (param i32 i32 i32 i32 i32 i32 i32)))
  (import "wasi:filesystem/types@0.2.0" "[method]directory-entry-stream.read-directory-entry" (func $entry (param i32 i32)))
  (import "wasi:filesystem/types@0.2.0" "filesystem-error-code" (func $error_code (param i32 i32)))
  (import "wasi:filesystem/types@0.2.0" "[resource-drop]descriptor" (func $drop_fd (param i32)))
  (import "wasi:filesystem/types@0.2.0" "[resource-drop]directory-entry-stream" (func $drop_list (param i32)))
  (import "wasi:io/streams@0.2.0" "[method]input-stream.blocking-read" (func $stream_read (param i32 i64 i32)))
  (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush" (func $stream_write (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.0" "[resource-drop]input-stream" (func $drop_input (param i32)))
  (import "wasi:io/streams@0.2.0" "[resource-drop]output-stream" (func $drop_output (param i32)))
  (global $folders (mut i32) (i32.const 0))
  (global $fails (mut i32) (i32.const 0))
  (global $out (mut i32) (i32.const 0))
  (global $out_end (mut i32) (i32.const 0))
  (global $fd (mut i32) (i32.const 0))

  (func $say (param $byte i32)
    (i32.store8 (global.get $out_end) (local.get $byte))
    (global.set $out_end (i32.add (global.get $out_end) (i32.const 1))))
  (func $say_text (param $from i32) (param $length i32)
    (if (i32.gt_u (local.get $length) (i32.const 60)) (then (local.set $length (i32.const 60))))
    (memory.copy (global.get $out_end) (local.get $from) (local.get $length))
    (global.set $out_end (i32.add (global.get $out_end) (local.get $length))))
  (func $say_number (param $value i32)
    (if (i32.ge_u (local.get $value) (i32.const 10))
      (then (call $say_number (i32.div_u (local.get $value) (i32.const 10)))))
    (call $say (i32.add (i32.const 48) (i32.rem_u (local.get $value) (i32.const 10)))))
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

  ;; Whether the result at 64 is an error, whose code lies at $at and is then told.
  (func $failed (param $at i32) (result i32)
    (if (i32.eqz (i32.load8_u (i32.const 64))) (then (return (i32.const 0))))
    (call $say (i32.const 33))
    (call $say_number (i32.load8_u (local.get $at)))
    (i32.const 1))
  ;; The same for a stream's result: closed is "!closed".
  (func $stream_failed (result i32)
    (if (i32.eqz (i32.load8_u (i32.const 64))) (then (return (i32.const 0))))
    (call $say (i32.const 33))
    (if (i32.load8_u (i32.const 68))
      (then (call $say (i32.const 99)))
      (else
        (call $error_code (i32.load (i32.const 72)) (i32.const 80))
        (if (i32.load8_u (i32.const 80)) (then (call $say_number (i32.load8_u (i32.const 81)))))))
    (i32.const 1))
  (func $folder (param $digit i32) (result i32)
    (i32.load (i32.add (global.get $folders) (i32.mul (i32.const 12) (i32.sub (local.get $digit) (i32.const 48))))))

  ;; Opens; whether that worked.
  (func $open (param $folder i32) (param $path i32) (param $length i32) (param $how i32) (param $flags i32) (result i32)
    (call $open_at (local.get $folder) (i32.const 1) (local.get $path) (local.get $length) (local.get $how)
      (local.get $flags) (i32.const 64))
    (if (call $failed (i32.const 68)) (then (return (i32.const 0))))
    (global.set $fd (i32.load (i32.const 68)))
    (i32.const 1))
  (func $close (call $drop_fd (global.get $fd)))
  (func $write_at (param $from i32) (param $length i32) (param $at i64)
    (call $fd_write (global.get $fd) (local.get $from) (local.get $length) (local.get $at) (i32.const 64))
    (drop (call $failed (i32.const 72))))
  (func $append_all (param $from i32) (param $length i32)
    (local $stream i32) (local $piece i32)
    (call $append (global.get $fd) (i32.const 64))
    (if (call $failed (i32.const 68)) (then (return)))
    (local.set $stream (i32.load (i32.const 68)))
    (block $done
      (loop $more
        (br_if $done (i32.eqz (local.get $length)))
        (local.set $piece (local.get $length))
        (if (i32.gt_u (local.get $piece) (i32.const 4096)) (then (local.set $piece (i32.const 4096))))
        (call $stream_write (local.get $stream) (local.get $from) (local.get $piece) (i32.const 64))
        (br_if $done (call $stream_failed))
        (local.set $length (i32.sub (local.get $length) (local.get $piece)))
        (br $more)))
    (call $drop_output (local.get $stream)))
  (func $read_all
    (local $stream i32) (local $total i32) (local $mark i32)
    (call $input (global.get $fd) (i64.const 0) (i32.const 64))
    (if (call $failed (i32.const 68)) (then (return)))
    (local.set $stream (i32.load (i32.const 68)))
    (local.set $mark (global.get $heap))
    (block $done
      (loop $more
        (global.set $heap (local.get $mark))
        (call $stream_read (local.get $stream) (i64.const 65536) (i32.const 64))
        ;; The end is no failure.
        (br_if $done (i32.and (i32.load8_u (i32.const 64)) (i32.load8_u (i32.const 68))))
        (br_if $done (call $stream_failed))
        (local.set $total (i32.add (local.get $total) (i32.load (i32.const 72))))
        (br $more)))
    (call $say_number (local.get $total))
    (call $drop_input (local.get $stream)))
  (func $list_all
    (local $listing i32)
    (call $list (global.get $fd) (i32.const 64))
    (if (call $failed (i32.const 68)) (then (return)))
    (local.set $listing (i32.load (i32.const 68)))
    (block $done
      (loop $more
        (call $entry (local.get $listing) (i32.const 64))
        (br_if $done (call $failed (i32.const 68)))
        (br_if $done (i32.eqz (i32.load8_u (i32.const 68))))
        (call $say_text (i32.load (i32.const 76)) (i32.load (i32.const 80)))
        (call $say (i32.const 44))
        (br $more)))
    (call $drop_list (local.get $listing)))
  (func $read_once
    (call $fd_read (global.get $fd) (i64.const 65536) (i64.const 0) (i32.const 64))
    (if (i32.eqz (call $failed (i32.const 68)))
      (then (call $say_text (i32.load (i32.const 68)) (i32.load (i32.const 72))))))

  (func $step (param $op i32) (param $folder i32) (param $other i32) (param $a i32) (param $an i32) (param $b i32)
    (param $bn i32)
    (local $copy i32) (local $mark i32)
    (call $say (local.get $op))
    ;; What is written lies apart from the script.
    (if (i32.eq (local.get $op) (i32.const 88)) (then (global.set $fails (i32.const 1)))) ;; X
    (if (i32.eq (local.get $op) (i32.const 114)) ;; r
      (then (if (call $open (local.get $folder) (local.get $a) (local.get $an) (i32.const 0) (i32.const 1))
        (then (call $read_once) (call $close)))))
    (if (i32.eq (local.get $op) (i32.const 82)) ;; R
      (then (if (call $open (local.get $folder) (local.get $a) (local.get $an) (i32.const 0) (i32.const 1))
        (then (call $read_all) (call $close)))))
    (if (i32.eq (local.get $op) (i32.const 119)) ;; w
      (then (if (call $open (local.get $folder) (local.get $a) (local.get $an) (i32.const 9) (i32.const 2))
        (then (call $write_at (local.get $b) (local.get $bn) (i64.const 0)) (call $close)))))
    (if (i32.eq (local.get $op) (i32.const 101)) ;; e
      (then (if (call $open (local.get $folder) (local.get $a) (local.get $an) (i32.const 5) (i32.const 2))
        (then (call $close)))))
    (if (i32.eq (local.get $op) (i32.const 97)) ;; a
      (then (if (call $open (local.get $folder) (local.get $a) (local.get $an) (i32.const 1) (i32.const 2))
        (then (call $append_all (local.get $b) (local.get $bn)) (call $close)))))
    (if (i32.eq (local.get $op) (i32.const 65)) ;; A
      (then (if (call $open (local.get $folder) (local.get $a) (local.get $an) (i32.const 1) (i32.const 2))
        (then
          (local.set $bn (call $number (local.get $b) (local.get $bn)))
          (call $append_all (call $memory (local.get $bn)) (local.get $bn))
          (call $close)))))
    (if (i32.eq (local.get $op) (i32.const 122)) ;; z
      (then (if (call $open (local.get $folder) (local.get $a) (local.get $an) (i32.const 1) (i32.const 2))
        (then
          (local.set $bn (call $number (local.get $b) (local.get $bn)))
          (call $write_at (call $memory (local.get $bn)) (local.get $bn) (i64.const 0))
          (call $close)))))
    (if (i32.eq (local.get $op) (i32.const 112)) ;; p
      (then (if (call $open (local.get $folder) (local.get $a) (local.get $an) (i32.const 1) (i32.const 2))
        (then
          (call $write_at (local.get $a) (i32.const 1)
            (i64.extend_i32_u (call $number (local.get $b) (local.get $bn))))
          (call $close)))))
    (if (i32.eq (local.get $op) (i32.const 116)) ;; t
      (then (if (call $open (local.get $folder) (local.get $a) (local.get $an) (i32.const 1) (i32.const 2))
        (then
          (call $set_size (global.get $fd) (i64.extend_i32_u (call $number (local.get $b) (local.get $bn)))
            (i32.const 64))
          (drop (call $failed (i32.const 65)))
          (call $close)))))
    (if (i32.eq (local.get $op) (i32.const 100)) ;; d
      (then (if (call $open (local.get $folder) (local.get $a) (local.get $an) (i32.const 2) (i32.const 1))
        (then (call $list_all) (call $close)))))
    (if (i32.eq (local.get $op) (i32.const 107)) ;; k
      (then
        (call $mkdir (local.get $folder) (local.get $a) (local.get $an) (i32.const 64))
        (drop (call $failed (i32.const 65)))))
    (if (i32.eq (local.get $op) (i32.const 117)) ;; u
      (then
        (call $unlink (local.get $folder) (local.get $a) (local.get $an) (i32.const 64))
        (drop (call $failed (i32.const 65)))))
    (if (i32.eq (local.get $op) (i32.const 108)) ;; l
      (then
        (call $link (local.get $folder) (i32.const 0) (local.get $a) (local.get $an) (local.get $folder)
          (local.get $b) (local.get $bn) (i32.const 64))
        (drop (call $failed (i32.const 65)))))
    (if (i32.eq (local.get $op) (i32.const 121)) ;; y
      (then
        (call $symlink (local.get $folder) (local.get $a) (local.get $an) (local.get $b) (local.get $bn)
          (i32.const 64))
        (drop (call $failed (i32.const 65)))))
    (if (i32.eq (local.get $op) (i32.const 109)) ;; m
      (then
        (call $rename (local.get $folder) (local.get $a) (local.get $an) (local.get $other) (local.get $b)
          (local.get $bn) (i32.const 64))
        (drop (call $failed (i32.const 65)))))
    (if (i32.eq (local.get $op) (i32.const 76)) ;; L
      (then
        (call $readlink (local.get $folder) (local.get $a) (local.get $an) (i32.const 64))
        (if (i32.eqz (call $failed (i32.const 68)))
          (then (call $say_text (i32.load (i32.const 68)) (i32.load (i32.const 72)))))))
    (if (i32.eq (local.get $op) (i32.const 111)) ;; o
      (then (drop
        (call $open (local.get $folder) (local.get $a) (local.get $an) (i32.const 0) (i32.const 1)))))
    (if (i32.eq (local.get $op) (i32.const 115)) ;; s
      (then (if (call $open (local.get $folder) (local.get $a) (local.get $an) (i32.const 0) (i32.const 1))
        (then
          (call $input (global.get $fd) (i64.const 0) (i32.const 64))
          (drop (call $failed (i32.const 68)))
          (call $close)))))
    (if (i32.eq (local.get $op) (i32.const 103)) ;; g
      (then (if (call $open (local.get $folder) (local.get $a) (local.get $an) (i32.const 1) (i32.const 2))
        (then
          (local.set $bn (call $number (local.get $b) (local.get $bn)))
          (call $append (global.get $fd) (i32.const 64))
          (local.set $copy (i32.load (i32.const 68)))
          (call $append_all (call $memory (local.get $bn)) (local.get $bn))
          (call $stream_write (local.get $copy) (call $memory (local.get $bn)) (local.get $bn) (i32.const 64))
          (drop (call $stream_failed))
          (call $drop_output (local.get $copy))
          (call $close)))))
    (if (i32.eq (local.get $op) (i32.const 102)) ;; f
      (then
        (local.set $mark (global.get $heap))
        (loop $again
          (global.set $heap (local.get $mark))
          (if (call $open (local.get $folder) (local.get $a) (local.get $an) (i32.const 0) (i32.const 1))
            (then
              (call $fd_read (global.get $fd) (i64.const 1) (i64.const 0) (i32.const 64))
              (call $close)
              (br $again))))))
    (call $say (i32.const 59)))

  ;; Where a byte is, from $at on, before $end; $end if nowhere.
  (func $find (param $byte i32) (param $at i32) (param $end i32) (result i32)
    (block $found
      (loop $next
        (br_if $found (i32.ge_u (local.get $at) (local.get $end)))
        (br_if $found (i32.eq (i32.load8_u (local.get $at)) (local.get $byte)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (local.get $at))

  (func $script (param $at i32) (param $end i32)
    (local $op i32) (local $folder i32) (local $other i32) (local $stop i32) (local $middle i32)
    (block $done
      (loop $next
        (local.set $stop (call $find (i32.const 59) (local.get $at) (local.get $end)))
        (br_if $done (i32.ge_u (local.get $stop) (local.get $end)))
        (local.set $op (i32.load8_u (local.get $at)))
        (local.set $folder (call $folder (i32.load8_u offset=1 (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 3)))
        (if (i32.eq (local.get $op) (i32.const 109))
          (then
            (local.set $other (call $folder (i32.load8_u (i32.sub (local.get $at) (i32.const 1)))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))))
        (local.set $middle (call $find (i32.const 61) (local.get $at) (local.get $stop)))
        (call $step (local.get $op) (local.get $folder) (local.get $other)
          (local.get $at) (i32.sub (local.get $middle) (local.get $at))
          (i32.add (local.get $middle) (i32.const 1))
          (i32.sub (i32.sub (local.get $stop) (local.get $middle)) (i32.const 1)))
        (local.set $at (i32.add (local.get $stop) (i32.const 1)))
        (br $next))))

  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (local $outcome i32) (local $from i32) (local $end i32)
    (if (i32.eqz (global.get $folders))
      (then
        (call $directories (i32.const 64))
        (global.set $folders (i32.load (i32.const 64)))
        (global.set $out (call $memory (i32.const 8192)))))
    (global.set $out_end (global.get $out))
    (call $read (local.get $item) (i32.const 0) (i32.const 65536) (i32.const 64))
    (local.set $from (i32.load (i32.const 68)))
    (local.set $end (i32.add (local.get $from) (i32.load (i32.const 72))))
    (call $script
      (i32.add (i32.const 1) (call $find (i32.const 35) (local.get $from) (local.get $end)))
      (local.get $end))
    (call $drop_item (local.get $item))
    (if (global.get $fails) (then (return (call $error))))
    (local.set $outcome (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 60)))
    (call $outcome (local.get $outcome) (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 2)
      (global.get $out) (i32.sub (global.get $out_end) (global.get $out)))
    (call $ok (local.get $outcome) (i32.const 1)))
