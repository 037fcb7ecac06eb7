subsystem "a" {
  plugin = "p"
  limits { timeout = "5s", queue = 1 } # ERROR: Invalid single-argument block definition
}
subsystem "b" { # ERROR: Unclosed configuration block
  plugin = # ERROR: Invalid expression
  limits {
    timeout = 5
  }
