subsystem "a" {
  plugin = "p"
  rate "none" { # ERROR: Missing argument
  }
  rate "bare" {
    limit = 50              # ERROR: Rate without a period
  }
  rate "fast" {
    limit = "10000001/s"    # ERROR: Rate too fast
  }
  rate "fast_for_a_moment" {
    limit = "1/99ns"        # ERROR: Rate too fast
  }
  rate "slow" {
    limit = "1/745h"        # ERROR: Rate period too long
  }
  rate "bounds" {
    limit = "1/s"
    burst = 1000001         # ERROR: Number out of range
    key   = ""              # ERROR: Empty key
    wait  = "61m"           # ERROR: Duration out of range
  }
  rate "bounds" {           # ERROR: Duplicate rate
    limit = "1/s"
    burst = 0               # ERROR: Number out of range
    wait  = -1              # ERROR: Invalid duration
  }
  rate "refilled_after_ages" {
    limit = "1/day"
    burst = 3651            # ERROR: Burst too large
  }
  rate "API" {              # ERROR: Invalid name
    limit = "1/s"
  }
  rate {                    # ERROR: Missing name
    limit = "50"            # ERROR: Rate without a period
  }
  rate "a" "b" {            # ERROR: Unexpected name # ERROR: Missing argument
    limti = "1/s"           # ERROR: Unsupported argument
  }
  rate = "10/s"             # ERROR: Block expected
}
