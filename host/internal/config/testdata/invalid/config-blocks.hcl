subsystem "a" {
  plugin = "p"
  config {
    profile "one" {
      base_url = "https://example.com"
    }
    profile "one" { # ERROR: Duplicate block
    }
    profile { # ERROR: Missing name
    }
    profile "a" "b" { # ERROR: Missing name
    }
    profile "github" {
      base_ulr = "https://api.github.com" # ERROR: Unsupported argument
      base_url = "https://api.github.com"
      inner { # ERROR: Unsupported block
      }
    }
    shards "minus" { # ERROR: Invalid name
    }
    rule "x" { # ERROR: Unexpected name
      host  = "h"
      limit = 1
      mode = "read"
    }
    cache {
    }
    cache { # ERROR: Duplicate block
    }
    cache = {} # ERROR: Block expected
    headers {  # ERROR: Argument expected
    }
    url  = "u"
    path = "p" # ERROR: Conflicting arguments
    inline {   # ERROR: Conflicting arguments
    }
  }
}
subsystem "b" {
  plugin = "takes-nothing"
  config { # ERROR: Plugin takes no config
  }
}
subsystem "c" {
  plugin = "missing" # WARNING: Config not checked
  config {
    whatever = 1
  }
}
subsystem "d" {
  plugin = "p"
  config "x" { # ERROR: Unexpected name
  }
  config { # ERROR: Duplicate block
  }
}
