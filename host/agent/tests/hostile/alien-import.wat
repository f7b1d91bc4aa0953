(component
  (import "alien:radio/transmitter@1.0.0" (instance (export "send" (func)))))
