subsystem "a" {
  plugin = "p"
  limits {
    per_key "domain" { # ERROR: Missing argument
    }
    per_key "domain" { # ERROR: Duplicate per_key
      concurrency = 0  # ERROR: Number out of range
    }
    per_key {          # ERROR: Missing name
      concurrency = 1
    }
    per_key "" {       # ERROR: Empty key
      concurrency = 1
    }
    per_key "a" "b" {  # ERROR: Unexpected name
      concurrency = 1
      queue       = -1 # ERROR: Number out of range
      timeout     = "1s" # ERROR: Unsupported argument
    }
    per_key = 5        # ERROR: Block expected
  }
  per_key "root" {     # ERROR: Unsupported block
  }
}
