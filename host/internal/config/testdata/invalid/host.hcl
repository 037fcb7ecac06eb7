hsot { # ERROR: Unsupported block
}
socket = "run/gaia.sock" # ERROR: Unsupported argument
host   = {}              # ERROR: Block expected

host "main" { # ERROR: Unexpected name
  socket     = ""           # ERROR: Empty path
  http       = ":4242"      # ERROR: Address without a host
  plugin_dir = 5            # ERROR: Text expected
  data_dir   = ["data"]     # ERROR: Text expected
  httpp      = "127.0.0.1:1" # ERROR: Unsupported argument
  tsl {                     # ERROR: Unsupported block
  }
}

host { # ERROR: Duplicate block
  http = "this is not judged, because the block is not taken"
}
