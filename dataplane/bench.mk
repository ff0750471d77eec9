# The dataplane's figures, peers and ours in one run. Needs root, iperf3 and wg.
.PHONY: bench-dataplane
bench-dataplane:
	$(BENCH) dataplane-tunnels -title "Tunnels on soft ports, beside wireguard-go" -- $(GO) test -run '^$$' -bench 'Tunnels|Flood' -benchtime 1x -timeout 20m ./node/softport
	$(BENCH) dataplane-tables -title "Dataplane: tables, worker, packets" -- $(GO) test -run '^$$' -bench . ./dataplane/fib ./dataplane/worker ./dataplane/packet
	$(BENCH) dataplane-responder -title "Handshakes answered" -- $(GO) test -run '^$$' -bench Responder ./node/tunnel
	$(BENCH) dataplane-edge -title "An edge worker on AF_XDP" -- $(GO) test -run '^$$' -bench Edge -benchtime 1x ./dataplane/xdpport
