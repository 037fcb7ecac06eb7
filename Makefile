# Everything that is done with this tree. `make` lists the targets.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS   += --no-builtin-rules --no-print-directory

# The tools, pinned. They are built into .bin on first use.
BUF           := v1.75.0
PROTOC_GEN_GO := v1.36.12
PROTOC_GEN_GO_GRPC := v1.6.2
GOLANGCI_LINT := v2.15.0
PROTOVALIDATE := v1.2.2
GRPCURL       := v1.9.4
GRPC_HEALTH_PROBE := v0.4.63
NFPM          := v2.43.4

BIN     := $(CURDIR)/.bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PLUGINS := $(notdir $(wildcard plugins/*))
MODULES := proto sdk host $(PLUGINS:%=plugins/%) examples
# The packages of a plugin's API and config, gaia.X.v1.
api-client-pool.api     := api egress
browser-pool.api        := browser egress
file-manager.api        := file
network-coordinator.api := network egress
process-manager.api     := process
descriptors = $(BIN)/buf build proto $(foreach a,$($(1).api),--path proto/gaia/$(a)/v1) --exclude-imports
LDFLAGS := -s -w -X main.version=$(VERSION) -X github.com/gaia-go/gaia/sdk.version=$(VERSION)
# What `make dist` is for; PLATFORMS=linux/amd64 for one of them.
PLATFORMS := linux/amd64 linux/arm64 darwin/arm64

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: build
build: ## Build the host and every plugin into bin/
	@mkdir -p bin/plugins
	@echo "building bin/gaia and $(words $(PLUGINS)) plugins; the first time this takes a minute or more"
	@CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/gaia ./host/cmd/gaia
	@for p in $(PLUGINS); do CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/plugins/gaia-$$p ./plugins/$$p; done
	@for e in hello memory-file-manager; do CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/plugins/$$e ./examples/$$e; done

.PHONY: run
run: build browser ## Build, then run the host on config.hcl in the foreground
	@exec bin/gaia run -config config.hcl

.PHONY: test
test: compiler driven tools ## Run all tests of all modules under the race detector
	@go test -race -timeout 30m work

.PHONY: test-slow
test-slow: compiler driven ## Run the soaks: thousands of kills of plugins, writers and logs, a million calls, 200 processes, 500 file operations, 1,000 HTTP callers, 1,000 pages
	@GAIA_SLOW=1 go test -race -timeout 60m -run '^TestSlow|^TestKills|^TestNoKill' -v ./sdk/link ./host/cmd/gaia ./host/internal/gateway \
		./plugins/file-manager ./plugins/file-manager/internal/files ./plugins/process-manager/internal/logs \
		./plugins/network-coordinator/internal/proxy ./plugins/browser-pool/internal/pool

.PHONY: bench
bench: build ## Measure calls, the gate, files, processes, HTTP, pages, tunnels, DNS, streams and a restart, each beside a baseline
	@bin/gaia bench browser
	@bin/gaia bench dispatch
	@bin/gaia bench dns
	@bin/gaia bench files
	@bin/gaia bench gate
	@bin/gaia bench http
	@bin/gaia bench processes
	@bin/gaia bench proxy
	@bin/gaia bench restart
	@go test -run '^$$' -bench 'BenchmarkStream' ./host/cmd/gaia
	@go test -run '^$$' -bench 'BenchmarkUnary' ./host/internal/door/rpc

.PHONY: check
check: fmt-check lint proto-check generate-check test ## All that must hold before a change lands

.PHONY: fmt
fmt: $(BIN)/buf ## Format Go, proto and HCL
	@gofmt -w $(MODULES)
	@$(BIN)/buf format -w
	@go run ./host/cmd/gaia fmt config.hcl

.PHONY: fmt-check
fmt-check:
	@test -z "$$(gofmt -l $(MODULES))" || { echo "not formatted (make fmt):"; gofmt -l $(MODULES); exit 1; }
	@go run ./host/cmd/gaia fmt --check config.hcl

.PHONY: lint
lint: $(BIN)/golangci-lint ## Run the linters over all modules, for Linux and macOS
	@$(BIN)/golangci-lint run $$(go list -m -f '{{.Dir}}/...')
	@GOOS=darwin go vet work

.PHONY: proto-check
proto-check: $(BIN)/buf $(BIN)/protovalidate ## Lint and format-check the .proto files
	@$(BIN)/buf lint
	@$(BIN)/buf format -d --exit-code proto
	@$(BIN)/buf format -d --exit-code examples/hello/proto

.PHONY: generate
generate: $(BIN)/buf $(BIN)/protoc-gen-go $(BIN)/protoc-gen-go-grpc $(BIN)/protovalidate ## Generate Go from .proto, descriptors and docs
	@$(BIN)/buf generate
	@$(foreach p,$(PLUGINS),$(call descriptors,$(p)) -o plugins/$(p)/descriptors.binpb && ) true
	@$(BIN)/buf build examples/hello/proto -o examples/hello-python/hello.binpb
	@cp examples/hello-python/gaia_plugin.py host/internal/scaffold/templates/python/
	@go test -run 'Docs' ./host/internal/cli ./host/internal/config ./host/internal/supervisor ./host/internal/telemetry -update >/dev/null
	@go test -run TheReferenceOfTheServices ./host/cmd/gaia -update >/dev/null

.PHONY: generate-check
generate-check: $(BIN)/buf $(BIN)/protoc-gen-go $(BIN)/protoc-gen-go-grpc $(BIN)/protovalidate
	@rm -rf $(BIN)/generated && $(BIN)/buf generate -o $(BIN)/generated
	@cd $(BIN)/generated && find . -type f | while read -r f; do cmp -s "$$f" "$(CURDIR)/$$f" || { echo "$$f is out of date (make generate)"; exit 1; }; done
	@$(foreach p,$(PLUGINS),$(call descriptors,$(p)) -o $(BIN)/generated/descriptors.binpb && \
		cmp $(BIN)/generated/descriptors.binpb plugins/$(p)/descriptors.binpb && ) true
	@$(BIN)/buf build examples/hello/proto -o $(BIN)/generated/hello.binpb && cmp $(BIN)/generated/hello.binpb examples/hello-python/hello.binpb

.PHONY: compiler
compiler: # of C, which the race detector needs
	@command -v cc >/dev/null || command -v gcc >/dev/null || { \
		if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq gcc libc6-dev; \
		else echo "the race detector needs a C compiler: apt-get install gcc libc6-dev, or xcode-select --install"; exit 1; fi; }

# Programs that are driven, PROGRAM:PACKAGE each: those of tests, and the browser. Of a
# library it is a file.
BROWSER := /usr/lib/chromium/chromium-headless-shell:chromium-headless-shell
GRPCIO  := /usr/lib/python3/dist-packages/grpc/__init__.py:python3-grpcio
DRIVEN  := promtool:prometheus zsh:zsh fish:fish curl:curl jq:jq openssl:openssl pkill:procps pdftotext:poppler-utils node:nodejs npm:npm minisign:minisign $(GRPCIO) $(BROWSER)

# Installs those of $(1) that are missing, where that can be done; $(2) says what goes without.
define install
	@missing=(); for d in $(1); do command -v "$${d%:*}" >/dev/null || [ -e "$${d%:*}" ] || missing+=("$${d##*:}"); done; \
	apt=false; if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt=apt-get; fi; \
	if [ $${#missing[@]} -gt 0 ]; then $$apt update -qq || true; fi; \
	for m in "$${missing[@]}"; do \
		$$apt install -y -qq --no-install-recommends "$$m" >/dev/null || echo "$(2): apt-get install $$m"; \
	done
endef

.PHONY: driven
driven: # without one of these its tests are skipped
	$(call install,$(DRIVEN),some tests are skipped)

.PHONY: tools
tools: $(BIN)/grpcurl $(BIN)/grpc-health-probe # without one of these its tests are skipped

.PHONY: browser
browser: # without it browser_pool opens pages in Chromium or Chrome, or fails where there is none
	$(call install,$(BROWSER),the browser pool has no headless shell)

.PHONY: dist
dist: $(BIN)/nfpm build ## Build archives, .deb and .rpm of this commit into dist/
	@VERSION='$(VERSION)' LDFLAGS='$(LDFLAGS)' PLUGINS='$(PLUGINS)' NFPM=$(BIN)/nfpm host/packaging/dist $(PLATFORMS)

.PHONY: dist-check
dist-check: dist ## Build them, open the .deb, and run the host that is in it
	@go test -count=1 -run 'DebianPackage|Packages|SystemdTakes' -v ./host/cmd/gaia

.PHONY: clean
clean: ## Remove what was built and what runs left
	@rm -rf bin dist run data $(BIN)/generated

$(BIN)/buf:
	@GOBIN=$(BIN) go install github.com/bufbuild/buf/cmd/buf@$(BUF)
$(BIN)/protoc-gen-go:
	@GOBIN=$(BIN) go install google.golang.org/protobuf/cmd/protoc-gen-go@$(PROTOC_GEN_GO)
$(BIN)/protoc-gen-go-grpc:
	@GOBIN=$(BIN) go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@$(PROTOC_GEN_GO_GRPC)
$(BIN)/golangci-lint:
	@GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)
$(BIN)/grpcurl:
	@GOBIN=$(BIN) go install github.com/fullstorydev/grpcurl/cmd/grpcurl@$(GRPCURL)
$(BIN)/grpc-health-probe:
	@GOBIN=$(BIN) go install github.com/grpc-ecosystem/grpc-health-probe@$(GRPC_HEALTH_PROBE)
$(BIN)/nfpm:
	@GOBIN=$(BIN) go install github.com/goreleaser/nfpm/v2/cmd/nfpm@$(NFPM)
# validate.proto is not vendored: it comes out of its Go module.
$(BIN)/protovalidate:
	@dir=$$(cd $$(mktemp -d) && go mod download -json github.com/bufbuild/protovalidate@$(PROTOVALIDATE) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'); \
		mkdir -p $@ && cp -R "$$dir/proto/protovalidate/buf" $@/ && chmod -R u+w $@
