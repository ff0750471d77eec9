# Programs of others that check our evidence log, at fixed versions and built outside this module. A test skips, and says
# which is missing, where one cannot be fetched.
.PHONY: evidence-peers
LITEWITNESS := filippo.io/torchwood/cmd/litewitness@v0.9.0
FSCK := github.com/transparency-dev/tessera/cmd/fsck@v1.0.4
evidence-peers: ## a stock witness (litewitness) and a stock checker (tessera's fsck) for the evidence log's tests
	@mkdir -p bin
	-@test -x bin/litewitness || GOBIN=$(CURDIR)/bin $(GO) install $(LITEWITNESS)
	-@test -x bin/fsck || GOBIN=$(CURDIR)/bin $(GO) install $(FSCK)
