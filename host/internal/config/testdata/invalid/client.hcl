host {
  grpc = "127.0.0.1:0" # ERROR: Calls from the network without TLS
}
client "short" {
  token = "0123456789abcde" # ERROR: Token too short
  allow = ["*"]
}
client "spaces" {
  token = "0123456789 abcdef" # ERROR: Invalid token
  allow = ["*"]
}
client "one" {
  token = "0123456789abcdef"
  allow = ["*"]
}
client "two" {
  token = "0123456789abcdef" # ERROR: Token of two clients
  allow = ["*"]
}
client "three" {
  certificate = "ci.example"
  allow       = ["*"]
}
client "four" {
  certificate = "ci.example" # ERROR: Certificate of two clients
  allow       = []           # WARNING: Client that may call nothing
}
client "five" { # ERROR: Client without credentials
  allow = ["*"]
}
client "six" { # WARNING: Client that may call nothing
  certificate = "six"
}
client "host" { # ERROR: Reserved name
  token = "fedcba9876543210"
  allow = ["*"]
}
client "one" {           # ERROR: Duplicate client
  token      = "fedcba9876543211"
  token_file = "missing" # ERROR: Conflicting arguments
  allow      = ["*"]
}
client "seven" {
  token_file = "missing" # ERROR: File not readable
  allow = [
    "*",
    "file_manager",                            # ERROR: Invalid permission
    "file_manager.gaia.v1.FileManager/Read",   # ERROR: Invalid permission
    "*.Read",                                  # ERROR: Invalid permission
    "file_manager.*Read",                      # ERROR: Invalid permission
    5,                                         # ERROR: Text expected
    "file_manager.Read*",
  ]
}
client "eight" {
  certificate = ""                   # ERROR: Empty certificate
  allow       = "file_manager.Read*" # ERROR: List expected
  tokn        = "0123456789abcdef"   # ERROR: Unsupported argument
  rate {                             # ERROR: Missing argument
    wait = "2h"                      # ERROR: Duration out of range
  }
  limits {
    queue = 1 # ERROR: Queue without a limit
  }
}
client "nine" {
  token = env("GAIA_TEST_NO_SUCH_TOKEN") # ERROR: Environment variable not set
  allow = ["*"]
}
client { # ERROR: Missing name
  certificate = "ten"
  allow       = ["*"]
}
subsystem "host" { # ERROR: Reserved name
  plugin = "p"
}
