subsystem "a" {
  plugin = "p"
  rate "without_a_key" {
    limit = "1/s"
    override "a" { # ERROR: Override without a key
      limit = "2/s"
    }
    override "b" {
      limit = "2/s"
    }
  }
  rate "key_with_a_fault" {
    limit = "1/s"
    key   = 5                   # ERROR: Text expected
    override "a" {
      limit = "2/s"
    }
  }
  rate "patterns" {
    limit = "1/s"
    key   = "domain"
    override "*" {              # ERROR: Invalid pattern
      burst = 1
    }
    override "" {               # ERROR: Invalid pattern
      burst = 1
    }
    override "*." {             # ERROR: Invalid pattern
      burst = 1
    }
    override "api.*.com" {      # ERROR: Invalid pattern
      burst = 1
    }
    override "*.*.com" {        # ERROR: Invalid pattern
      burst = 1
    }
    override "API.github.com" { # ERROR: Invalid pattern
      burst = 1
    }
    override "a" "b" {          # ERROR: Unexpected name
      burst = 1
    }
    override {                  # ERROR: Missing name
      burst = 1
    }
    override "*.x.com" { # ERROR: Empty override
    }
    override "*.x.com" {        # ERROR: Duplicate override
      limit = "20000000/s"      # ERROR: Rate too fast
      wait  = "5s"              # ERROR: Unsupported argument
    }
    override "null" { # ERROR: Empty override
      limit = null
      burst = null
    }
  }
  rate "bursts" {
    limit = "1/s"
    burst = 4000
    key   = "domain"
    override "burst" {
      burst = 1000000
    }
    override "limit" {
      limit = "1/day"           # ERROR: Burst too large
    }
    override "both" {
      limit = "1/day"
      burst = 5000              # ERROR: Burst too large
    }
    override "enough" {
      limit = "1/day"
      burst = 3650
    }
  }
}
