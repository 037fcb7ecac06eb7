host {
  http   = "4242"
  sokcet = "run/gaia.sock"
}

subsystem "api_client_pool" {
  plugin = "bin/gaia-api-client-pool"
  limits {
    concurrency = 0
    timeout     = 30
  }
  rate "global" {
    limit = "50"
  }
  restart {
    backoff = "1s"
    hold    = "2 seconds
  }
}

subsystem "files" {
  plugin = "gaia-files"
  config {
    size = "64"
	wait = "2h" # after a tab: 日本
    pace = "50"
  }
}
