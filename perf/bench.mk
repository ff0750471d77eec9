# The figures of the room perf. Needs root, iperf3 and ethtool. Other files add to
# bench-perf what they measure.
.PHONY: bench-perf bench-perf-wire
bench-perf: bench-perf-wire

bench-perf-wire: ## the link emulator: packets per second, error of the delay, TCP through it (root, iperf3, ethtool)
	$(BENCH) perf-wire -title "Emulated wires: one wire on one core" -- $(GO) test -run '^$$' -bench . -benchtime 1x -count 3 -timeout 20m ./perf/wire/port
	$(BENCH) perf-wire-core -title "Emulated wires: the core's cost per frame" -- $(GO) test -run '^$$' -bench . -count 3 ./perf/wire

.PHONY: bench-perf-iperf bench-perf-gen bench-perf-no-false-loss
bench-perf: bench-perf-iperf bench-perf-gen bench-perf-no-false-loss

bench-perf-iperf: ## every pairing of our and the stock iperf3, TCP and UDP, taking turns (root, iperf3)
	$(BENCH) perf-iperf -title "iperf: every pairing with the stock program" -- $(GO) test -run '^$$' -bench Pairings -benchtime 1x -timeout 30m ./perf/iperf

bench-perf-gen: ## the generator's rates and their errors, beside C on AF_XDP (root, gcc, libxdp-dev)
	$(BENCH) perf-gen -title "Test traffic: rates, beside C" -- $(GO) test -run '^$$' -bench Generator -benchtime 1x -timeout 10m ./perf/gen

bench-perf-no-false-loss: ## 100 million frames over a wire that loses none (root)
	$(BENCH) perf-no-false-loss -title "Test traffic: no false loss in 100 million frames" -- $(GO) test -run '^$$' -bench NoFalseLoss -benchtime 1x -timeout 10m ./perf/gen

.PHONY: bench-perf-rfc2544
bench-perf: bench-perf-rfc2544

bench-perf-rfc2544: ## what RFC 2544 searches find where the policer's rate is known (root, iproute2)
	$(BENCH) perf-rfc2544 -title "RFC 2544: five searches on a policed path" -- $(GO) test -run '^$$' -bench PolicedPath -benchtime 1x -timeout 20m ./perf/rfc2544
