host {
  socket     = "run/gaia.sock"       # gRPC and link; 0600, owner only
  http       = "127.0.0.1:4242"      # JSON, /metrics, /livez, /readyz, /debug/pprof
  plugin_dir = "bin/plugins"
  data_dir   = "data"
}

subsystem "api_client_pool" {
  plugin = "gaia-api-client-pool"    # a file in plugin_dir; optional sha256 = "…"

  limits {                           # HCL: a block on one line holds at most one argument
    concurrency = 1000               # calls in flight; or "adaptive" with min and max
    queue       = 2000
    timeout     = "30s"              # default and ceiling
    memory      = "512MiB"           # of the plugin's process tree; also cpu, processes, open_files
  }
  rate "global" {
    limit = "1000/s"
    burst = 200
  }
  rate "domain" {
    key   = "domain"                 # a key that the plugin's methods declare
    limit = "100/s"
    burst = 20
    wait  = "5s"                     # wait for a token up to this; 0 rejects at once
    override "api.github.com" { limit = "5000/h" }
  }
  breaker {
    key      = "domain"
    failures = 10
    within   = "10s"
    open_for = "5s"
  }
  retry {
    attempts = 2
    budget   = "10%"
  }
  restart {
    backoff      = "200ms"
    max_backoff  = "30s"
    stable_after = "60s"
    hold         = "2s"              # how long calls wait for an instance
    standby      = 0                 # warm spares
    crash_loop {
      exits  = 5
      within = "5m"
      then   = "quarantine"
    }
  }
  health {
    every   = "5s"
    timeout = "1s"
    misses  = 3
  }
  slo {
    success   = "99%"
    p95       = "100ms"
    in_flight = 450
  }
}
