subsystem "a" {
  plugin = "p"
  limits {
    concurrency = 0       # ERROR: Number out of range
    queue       = -1      # ERROR: Number out of range
    timeout     = 30      # ERROR: Duration without a unit
    memroy      = "512MB" # ERROR: Unsupported argument
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
subsystem "tree" {
  plugin = "p"
  limits {
    memory     = "8MiB"   # ERROR: Size out of range
    cpu        = 0        # ERROR: Number out of range
    processes  = 0        # ERROR: Number out of range
    open_files = 15       # ERROR: Number out of range
  }
}
subsystem "units" {
  plugin = "p"
  limits {
    memory     = 512      # ERROR: Size without a unit
    cpu        = "500m"   # ERROR: Number expected
    processes  = "1e7"    # ERROR: Number out of range
    open_files = "many"   # ERROR: Number expected
  }
}
subsystem "bounds" {
  plugin = "p"
  limits {
    concurrency = 10
    min         = 2       # ERROR: Bounds without adaptive concurrency
    max         = 5
  }
}
subsystem "max_alone" {
  plugin = "p"
  limits {
    max = 5 # ERROR: Bounds without adaptive concurrency
  }
}
subsystem "crossed" {
  plugin = "p"
  limits {
    concurrency = "adaptive"
    min         = 6
    max         = 5       # ERROR: Minimum above its maximum
  }
}
subsystem "above_the_default" {
  plugin = "p"
  limits {
    concurrency = "adaptive"
    min         = 1001    # ERROR: Minimum above its maximum
    max         = null
  }
}
subsystem "misspelt" {
  plugin = "p"
  limits {
    concurrency = "adaptiv" # ERROR: Number expected
    min         = 5
  }
}
subsystem "unbounded" {
  plugin = "p"
  limits {
    concurrency = "adaptive"
    min         = 0       # ERROR: Number out of range
    max         = 1000001 # ERROR: Number out of range
  }
}
subsystem "unread" {
  plugin = "p"
  limits {
    concurrency =         # ERROR: Invalid expression
    min         = 5
  }
}
subsystem "other" {
  plugin = "p"
  limit { # ERROR: Unsupported block
  }
  restart = "2s" # ERROR: Block expected
}
