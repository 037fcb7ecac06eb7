subsystem "a" {
  plugin = "p"
  slo {
    success   = "100%" # ERROR: Percentage out of range
    p95       = 100    # ERROR: Duration without a unit
    in_flight = 0      # ERROR: Number out of range
    p99       = "1s"   # ERROR: Unsupported argument
  }
}
subsystem "b" {
  plugin = "p"
  slo {
    success   = "0%"    # ERROR: Percentage out of range
    p95       = "0s"    # ERROR: Duration out of range
    in_flight = "450/s" # ERROR: Number expected
  }
}
subsystem "c" {
  plugin = "p"
  slo {
    success = "99.9999%" # ERROR: Invalid percentage
    p95     = "25h"      # ERROR: Duration out of range
  }
}
