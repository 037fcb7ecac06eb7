subsystem "a" {
  plugin = "p"
  plugin = "q" # ERROR: Duplicate argument
  limits {
    queue = 1
    queue = 2 # ERROR: Duplicate argument
    timeout = 5 # ERROR: Duration without a unit
  }
}
