subsystem "a" {
  plugin = "p"
  restart {
    backoff     = "10s"
    max_backoff = "5s" # ERROR: Backoff above its maximum
  }
}
subsystem "b" {
  plugin = "p"
  restart {
    backoff = "1m" # ERROR: Backoff above its maximum
    hold    = "2h" # ERROR: Duration out of range
  }
}
subsystem "c" {
  plugin = "p"
  restart {
    backoff      = "1m"
    max_backoff  = "soon" # ERROR: Invalid duration
    stable_after = "-1s"  # ERROR: Invalid duration
    standby      = -1     # ERROR: Number out of range
  }
}
subsystem "d" {
  plugin = "p"
  restart {
    standby       = 9       # ERROR: Number out of range
    start_timeout = "99ms"  # ERROR: Duration out of range
    drain_timeout = "61m"   # ERROR: Duration out of range
    stop_timeout  = "301s"  # ERROR: Duration out of range
    crash_loop {
      exits  = 1001         # ERROR: Number out of range
      within = "0s"         # ERROR: Duration out of range
      then   = "quarantene" # ERROR: Unknown value
    }
    crash_loop { # ERROR: Duplicate block
    }
  }
}
subsystem "e" {
  plugin = "p"
  restart {
    crash_loop "x" { # ERROR: Unexpected name
      then = true    # ERROR: Unknown value
    }
  }
  crash_loop { # ERROR: Unsupported block
  }
}
subsystem "f" {
  plugin = "p"
  restart {
    backoff     = "1m"
    max_backoff = # ERROR: Invalid expression
  }
}
