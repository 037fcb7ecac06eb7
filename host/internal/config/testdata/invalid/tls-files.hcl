host {
  grpc = "127.0.0.1:0"
  tls {
    certificate = "tls-files.hcl" # ERROR: Unusable certificate
    key         = "tls-files.hcl"
    client_ca   = "missing" # ERROR: File not readable
  }
}
