subsystem "a" {
  plugin = "p"
  health {
    every   = "9ms" # ERROR: Duration out of range
    timeout = "0s"  # ERROR: Duration out of range
    misses  = 0     # ERROR: Number out of range
  }
}
subsystem "b" {
  plugin = "p"
  health {
    every   = 0     # ERROR: Duration without a unit
    timeout = "61s" # ERROR: Duration out of range
    misses  = 101   # ERROR: Number out of range
  }
}
