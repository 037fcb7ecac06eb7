host {
  http = "localhost" # ERROR: Address without a port
}
