subsystem { # ERROR: Missing name
  plugin = "p"
}
subsystem "API" { # ERROR: Invalid name
  plugin = "p"
}
subsystem "a" "b" { # ERROR: Unexpected name
  plugin = "p"
}
subsystem "twice" {
  plugin = "p"
}
subsystem "twice" { # ERROR: Duplicate subsystem
  plugin = "p"
}
subsystem "twice" { # ERROR: Duplicate subsystem # ERROR: Missing argument
}
subsystem "0123456789" { # ERROR: Invalid name
  plugin = "p"
}
