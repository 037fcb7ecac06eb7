subsystem "a" {
  plugin = "p"
  }
  limits {
    timeout = "5s"
  }
} # ERROR: Argument or block definition required
