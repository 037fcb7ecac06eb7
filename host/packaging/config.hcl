# The configuration of the system's gaia.service. Every block and field is optional;
# docs/configuration.md has all of them with their defaults.
#
#   gaia validate      checks this file
#   systemctl reload gaia
#
# Secrets: env("NAME") reads from /etc/gaia/gaia.env, file("…") from a file.

host {
  socket     = "/run/gaia/gaia.sock" # gRPC and link; for its owner only
  http       = "127.0.0.1:4242"      # JSON, Connect and gRPC, with a token; /metrics, /livez, /readyz
  plugin_dir = "/usr/lib/gaia/plugins"
  data_dir   = "/var/lib/gaia"
}

subsystem "api_client_pool" {
  plugin = "gaia-api-client-pool"

  limits {
    concurrency = 1000 # calls in flight
    queue       = 2000 # calls that wait for one of these to end
    timeout     = "30s"
  }

  # Ten failures of one domain within ten seconds: refuse calls to it for five.
  breaker { key = "domain" }

  # To be asked for by `gaia slo rules`, and shown in /metrics.
  slo {
    success   = "99%"
    p95       = "100ms"
    in_flight = 450
  }

  # rate "domain" {
  #   key   = "domain"
  #   limit = "100/s"
  #   wait  = "5s"
  #   override "api.github.com" { limit = "5000/h" }
  # }

  config {
    connections_per_host = 64
    max_response_body    = "8MiB"

    # Without rules, addresses of the public internet may be called, and no others.
    # egress {
    #   rule {
    #     action    = "allow"
    #     hosts     = ["*.corp.example"]
    #     addresses = ["10.0.0.0/8"]
    #   }
    # }

    # profile "github" {
    #   base_url = "https://api.github.com/"
    #   bearer   = env("GITHUB_TOKEN")
    # }
  }
}

subsystem "browser_pool" {
  plugin = "gaia-browser-pool" # needs Chromium: apt-get install chromium-headless-shell

  limits {
    concurrency = 1000 # sessions wait here, too; how many pages load at once says max_jobs
    queue       = 1000
    timeout     = "2m"
  }

  # Pages of a domain that cannot be reached.
  breaker { key = "domain" }

  slo {
    success   = "95%"
    in_flight = 1000
  }

  config {
    # As many as are needed at once, until memory is used up: half of the machine's.
    max_browsers = 100
    max_tabs     = 10000

    # As above: without rules, the public internet and nothing else.
    # egress { … }

    # A door for Playwright, Puppeteer and chromedp scripts; docs/how-to/browser.md.
    # cdp {
    #   listen     = "127.0.0.1:9222"
    #   token_file = "/run/gaia/cdp-token"
    # }

    # downloads { dir = "/var/lib/gaia/downloads" }
  }
}

subsystem "file_manager" {
  plugin = "gaia-file-manager"

  limits {
    concurrency = 500
    queue       = 1000
    timeout     = "5m"
  }

  # At a reload one manager ends before the next begins: reads and writes under way
  # have 10 s for that, and calls wait.
  restart { hold = "12s" }

  slo {
    success   = "99%"
    p95       = "500ms"
    in_flight = 100
  }

  config {
    # Callers see the files below path, and nothing else.
    root "workspace" {
      path   = "/var/lib/gaia/workspace"
      mode   = "rw"
      create = true
      quota  = "10GiB"
      trash  = "168h"
    }
  }
}

subsystem "network_coordinator" {
  plugin = "gaia-network-coordinator"

  limits {
    concurrency = 2000
    queue       = 2000
    timeout     = "5m"
    open_files  = 8192 # two a connection, and some
  }

  slo {
    success = "99%"
  }

  config {
    # HTTP CONNECT, plain HTTP and SOCKS5 for programs of this machine:
    #   export HTTPS_PROXY="http://local:$(cat /run/gaia/proxy-token)@127.0.0.1:3128"
    listen          = "127.0.0.1:3128"
    max_connections = 2000
    client "local" { token_file = "/run/gaia/proxy-token" }

    # As above: without rules, the public internet and nothing else.
    # egress { … }

    # bandwidth_per_client { down = "10MiB" }
  }
}

subsystem "process_manager" {
  plugin = "gaia-process-manager"

  limits {
    concurrency = 500
    queue       = 1000
    timeout     = "5m"
  }

  # At a swap one manager ends before the next begins: commands that Run waits for
  # have 10 s for that, and calls wait.
  restart { hold = "12s" }

  slo {
    success = "95%"
  }

  config {
    log_dir       = "/var/lib/gaia/processes"
    max_processes = 200

    # Nothing but this may be started. An argument has to match one of args.
    command "echo" {
      path = "/bin/echo"
      args = [".*"]
    }
    command "sleep" {
      path = "/bin/sleep"
      args = ["[0-9]+"]
    }
  }
}
