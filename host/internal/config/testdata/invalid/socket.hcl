host {
  socket = "/a-path-that-is-far-too-long-for-any-unix-socket/0123456789/0123456789/0123456789/0123456789/0123456789/gaia.sock" # ERROR: Socket path too long
}
