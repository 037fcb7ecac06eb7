subsystem "a" {
  plugin = "p"
  retry {
    attempts = 0     # ERROR: Number out of range
    budget   = 10    # ERROR: Percentage without a percent sign
  }
  retry { # ERROR: Duplicate block
  }
}
subsystem "b" {
  plugin = "p"
  retry "twice" { # ERROR: Unexpected name
    attempts = 11     # ERROR: Number out of range
    budget   = "101%" # ERROR: Percentage out of range
  }
}
subsystem "c" {
  plugin = "p"
  retry {
    attempts = "2%"      # ERROR: Number expected
    budget   = "a tenth" # ERROR: Invalid percentage
  }
}
