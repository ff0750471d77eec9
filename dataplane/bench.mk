# The dataplane's figures, peers and ours in one run. Needs root, iperf3 and wg.
.PHONY: bench-dataplane dataplane-peers
bench-dataplane: dataplane-peers ## tunnels beside wireguard-go, Tailscale and Nebula; tables, handshakes, an edge worker (root, iperf3, wg)
	$(BENCH) dataplane-tunnels -title "Tunnels on soft ports, beside wireguard-go, Tailscale and Nebula" -- $(GO) test -run '^$$' -bench Tunnels -benchtime 1x -timeout 10m ./node/softport
	$(BENCH) dataplane-flood -title "Floods of forged handshakes, and ten thousand peers" -- $(GO) test -run '^$$' -bench 'Flood|TenThousand' -benchtime 1x -timeout 5m ./node/softport
	$(BENCH) dataplane-edge -title "An edge worker on AF_XDP" -- $(GO) test -run '^$$' -bench Edge -benchtime 1x -timeout 5m ./dataplane/xdpport
	$(BENCH) dataplane-responder -title "Handshakes answered" -- $(GO) test -run '^$$' -bench Responder -timeout 2m ./node/tunnel
	$(BENCH) dataplane-tables -title "Dataplane: tables, worker, packets" -- $(GO) test -run '^$$' -bench . -timeout 5m ./dataplane/fib ./dataplane/worker ./dataplane/packet

# Programs of others, at fixed versions: Tailscale's wireguard-go as its release 1.102.0 requires it, and Nebula. They are
# built outside this module; one that cannot be fetched is left out of the table, and the table says so.
TAILSCALE_WIREGUARD := github.com/tailscale/wireguard-go@v0.0.0-20260715223240-2e01ba5b00f0
NEBULA := github.com/slackhq/nebula/cmd
NEBULA_VERSION := v1.11.1
dataplane-peers:
	@mkdir -p bin
	-@test -x bin/wireguard-go-tailscale || { GOBIN=$(CURDIR)/bin/tmp $(GO) install $(TAILSCALE_WIREGUARD) && mv bin/tmp/wireguard-go bin/wireguard-go-tailscale && rmdir bin/tmp; }
	-@test -x bin/nebula || GOBIN=$(CURDIR)/bin $(GO) install $(NEBULA)/nebula@$(NEBULA_VERSION)
	-@test -x bin/nebula-cert || GOBIN=$(CURDIR)/bin $(GO) install $(NEBULA)/nebula-cert@$(NEBULA_VERSION)
