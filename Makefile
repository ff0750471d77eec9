# DSSN: build, try, test, measure. `make help` lists the targets.

GO      ?= go
BIN     := bin/dssn
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
SIZE    ?= 1GiB

# A bench-… target writes $(BENCH) NAME -title "…" -- COMMAND for each command whose
# figures shall be in docs/performance.md; the result is bin/bench/NAME.json.
BENCH   := $(GO) run ./perf/bench run

# The product has no cgo; only the race detector needs it.
export CGO_ENABLED = 0

.PHONY: help build demo test race generate bench performance bench-first-light clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/dssn
	@mkdir -p bin
	$(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION) -X dssn/perf/report.version=$(VERSION)" -o $(BIN) ./cmd/dssn

demo: build ## run the main job on a network of namespaces (root), then remove everything
	./$(BIN) lab run --size $(SIZE) $(DEMO)

test: ## run all tests; names those skipped and what they need
	$(GO) vet ./...
	$(GO) run ./internal/testsum -count=1 ./...

race: ## the same under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) run ./internal/testsum -count=1 -race ./...

generate: ## make all generated code again; git shall see no change
	$(GO) generate ./...

clean: ## remove what was built
	rm -rf bin dist

# Each room may add targets of its own, for example bench-aead.
-include $(wildcard */bench.mk */*/bench.mk */*/*/bench.mk)

bench-first-light: build ## goodput through the tunnels beside plain TCP and bare wireguard-go, in one run (root)
	$(GO) build -o bin/wireguard-go golang.zx2c4.com/wireguard
	$(BENCH) first-light -title "Goodput through the tunnels, beside plain TCP and wireguard-go" -- ./$(BIN) lab bench --wireguard-go bin/wireguard-go

bench: ## every benchmark target of every room, one after the other; writes docs/performance.md
	@rm -rf bin/bench
	@$(MAKE) --no-print-directory -k $$($(MAKE) -pRrq 2>/dev/null | awk -F: '/^bench-[a-z0-9-]+:/{print $$1}' | sort -u); worked=$$?; \
	$(MAKE) --no-print-directory performance && exit $$worked

performance: ## write docs/performance.md from the results of benchmarks that have run
	$(GO) run ./perf/bench page -o docs/performance.md bin/bench/*.json
