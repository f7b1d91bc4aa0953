  ;; Never finishes being instantiated.
  (start $forever)
