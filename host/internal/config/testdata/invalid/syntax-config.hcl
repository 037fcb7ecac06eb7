subsystem "a" {
  plugin = "p"
  config {
    profile "a" {
      base_url = "https://example.com # ERROR: Unclosed quote
    }
    size = 5 # ERROR: Size without a unit
    cache {
      entries = 1
      ttl = # ERROR: Invalid expression
    }
  }
}
