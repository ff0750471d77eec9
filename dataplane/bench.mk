# The dataplane's figures, peers and ours in one run. Needs root, iperf3 and wg.
.PHONY: bench-dataplane
bench-dataplane:
	go test -run '^$$' -bench 'Tunnels|Flood' -benchtime 1x -timeout 20m ./node/softport
	go test -run '^$$' -bench . ./dataplane/fib ./dataplane/worker ./dataplane/packet
	go test -run '^$$' -bench Responder ./node/tunnel
	go test -run '^$$' -bench Edge -benchtime 1x ./dataplane/xdpport
