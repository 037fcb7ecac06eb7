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
    standby      = 1      # ERROR: Unsupported argument
  }
}
