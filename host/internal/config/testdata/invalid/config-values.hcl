subsystem "a" {
  plugin = "p"
  config {
    text       = 5                    # ERROR: Text expected
    flag       = "yes"                # ERROR: True or false expected
    i32        = 2147483648           # ERROR: Number out of range
    s32        = -2147483649          # ERROR: Number out of range
    u32        = -1                   # ERROR: Number out of range
    i64        = 9223372036854775808  # ERROR: Number out of range
    u64        = 18446744073709551616 # ERROR: Number out of range
    f64        = 0.5                  # ERROR: Whole number expected
    real       = 1e400                # ERROR: Number out of range
    small_real = 1e39                 # ERROR: Number out of range
    raw        = "%%%"                # ERROR: Invalid base64
    mode       = "raed"               # ERROR: Unknown value
    wait       = 5                    # ERROR: Duration without a unit
    size       = "64"                 # ERROR: Size without a unit
    small_size = "2GiB"               # ERROR: Size out of range
    pace       = "50"                 # ERROR: Rate without a period
    maybe      = ""                   # ERROR: Number expected
    tags       = "one"                # ERROR: List expected
    waits      = [
      "5s",
      5,                              # ERROR: Duration without a unit
      null,                           # ERROR: Text expected
    ]
    sizes   = ["1MiB", "1 pebble"]    # ERROR: Invalid size
    headers = ["x"]                   # ERROR: Object expected
    weights = {
      "1"   = 0.5
      "one" = 1                       # ERROR: Invalid key
      "2"   = "x"                     # ERROR: Number expected
    }
    extra    = "text"                 # ERROR: Unsuitable value
    any_list = {}                     # ERROR: Unsuitable value
    txet     = "x"                    # ERROR: Unsupported argument
  }
}
