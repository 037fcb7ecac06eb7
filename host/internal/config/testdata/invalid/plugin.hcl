subsystem "none" { # ERROR: Missing argument
}
subsystem "null" {
  plugin = null # ERROR: Missing argument
}
subsystem "path" {
  plugin = "bin/gaia-x" # ERROR: Plugin with a path
}
subsystem "dots" {
  plugin = ".." # ERROR: Invalid plugin
}
subsystem "empty" {
  plugin = "" # ERROR: Invalid plugin
  sha256 = "" # ERROR: Invalid checksum
}
subsystem "prefixed" {
  plugin = "p"
  sha256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" # ERROR: Invalid checksum
}
subsystem "bare" {
  plugin = gaia-api-client-pool # ERROR: Variables not allowed
}
subsystem "template" {
  plugin = "gaia-${name}" # ERROR: Variables not allowed
}
subsystem "block" { # ERROR: Missing argument
  plugin { # ERROR: Argument expected
    file = "p"
  } # the block takes the place of the argument
}
