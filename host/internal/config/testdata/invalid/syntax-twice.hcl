subsystem "a" {
  plugin =  # ERROR: Invalid expression
  limits {
    timeout = 5 # ERROR: Duration without a unit
  }
}
subsystem "b" {
  plugin = "p"
  restart {
    hold = 2 # ERROR: Duration without a unit
    backoff == "1s" # ERROR: Argument or block definition required
  }
}
