host {
  http = "localhost:99999" # ERROR: Invalid port
}
