host {
  http = "http://localhost:4242" # ERROR: Invalid address
}
