subsystem "a" {
  plugin = "p"
  config {
    wait  = "2h"     # ERROR: Value out of range
    size  = "33MiB"  # ERROR: Value out of range
    tags  = [
      "ok",
      "x",           # ERROR: Invalid value
    ]
    profile "github" { # ERROR: Missing argument
      timeout = "61s" # ERROR: Value out of range
    }
    profile "gitlab" {
      base_url = "::" # ERROR: Invalid value
    }
    rule {
      host  = "a"
      limit = 1
      mode  = "read"
    }
    rule {
      host  = ""     # ERROR: Empty value
      limit = 101    # ERROR: Value out of range
      mode  = "write" # ERROR: Value out of range
    }
    cache { # ERROR: Invalid value
      entries = 5
    }
  }
}
subsystem "b" {
  plugin = "p"
  config {
    tags = ["aa", "bb", "cc", "dd"] # ERROR: Invalid value
  }
}
