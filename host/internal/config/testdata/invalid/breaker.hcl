subsystem "a" {
  plugin = "p"
  breaker {
    failures = 0       # ERROR: Number out of range
    within   = "0s"    # ERROR: Duration out of range
    open_for = "61m"   # ERROR: Duration out of range
  }
  breaker { # ERROR: Duplicate breaker
    failures = "few"   # ERROR: Number expected
  }
  breaker {
    key = "domain"
  }
  breaker {
    failures = 10001   # ERROR: Number out of range
    key      = "domain" # ERROR: Duplicate breaker
  }
  breaker {
    key = 5            # ERROR: Text expected
  }
  breaker {
    key = ["domain"]   # ERROR: Text expected
  }
  breaker {
    key = ""           # ERROR: Empty key
  }
  breaker {
    key =              # ERROR: Invalid expression
  }
  breaker {            # ERROR: Duplicate breaker
    key = null
  }
  breaker "domain" {   # ERROR: Unexpected name
    key = domain       # ERROR: Variables not allowed
  }
}
