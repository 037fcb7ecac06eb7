host {
  socket = "run/gaia.sock # ERROR: Unclosed quote
  http   = "127.0.0.1:4242"
}
subsystem "a { # ERROR: Unclosed quote
  plugin = "p"
  limits {
    timeout = "5s" queue = 1 # ERROR: Missing newline after argument
  }
  restart {
    hold = 2 # ERROR: Duration without a unit
  }
}
subsystem "b" {
  plugin = " # ERROR: Unclosed quote
  limits {
    timeout = 5 # ERROR: Duration without a unit
  }
}
subsystem "c" {
  plugin = "é # ERROR: Unclosed quote é
}
