subsystem "a" {
  plugin = "p"
  limits {
    concurrency = 0       # ERROR: Number out of range
    queue       = -1      # ERROR: Number out of range
    timeout     = 30      # ERROR: Duration without a unit
    memory      = "512MB" # ERROR: Unsupported argument
  }
  limits { # ERROR: Duplicate block
  }
}
subsystem "b" {
  plugin = "p"
  limits {
    concurrency = 1.5     # ERROR: Whole number expected
    queue       = "many"  # ERROR: Number expected
    timeout     = "25h"   # ERROR: Duration out of range
  }
}
subsystem "c" {
  plugin = "p"
  limits {
    concurrency = 1e999999999 # ERROR: Number out of range
    queue       = true        # ERROR: Number expected
    timeout     = true        # ERROR: Text expected
  }
}
subsystem "d" {
  plugin = "p"
  limits {
    concurrency = 1000001 # ERROR: Number out of range
    timeout     = "0s"    # ERROR: Duration out of range
  }
}
subsystem "later" {
  plugin = "p"
  rate "global" { # ERROR: Unsupported block
    limit = "50"
  }
  breaker { # ERROR: Unsupported block
  }
  limit { # ERROR: Unsupported block
  }
  restart = "2s" # ERROR: Block expected
}
