subsystem "a" {
  plugin = env("GAIA_TEST_NOT_SET") # ERROR: Environment variable not set
  sha256 = file("no/such/file")     # ERROR: File not readable
  limits {
    concurrency = evn("X")            # ERROR: Unknown function
    queue       = env("A", "1", "2")  # ERROR: Too many function arguments
    timeout     = file(".")           # ERROR: File not readable
  }
  restart {
    backoff = env()   # ERROR: Not enough function arguments
    hold    = 1 / 0   # ERROR: Invalid duration
  }
}
