host {
  tls { # WARNING: Certificates without a door # ERROR: Missing argument
    certificate = 5 # ERROR: Text expected
    key         = "missing"
  }
}
