# The figures of the room perf. Needs root, iperf3 and ethtool. Other files add to
# bench-perf what they measure.
.PHONY: bench-perf bench-perf-wire
bench-perf: bench-perf-wire

bench-perf-wire: ## the link emulator: packets per second, error of the delay, TCP through it (root, iperf3, ethtool)
	$(BENCH) perf-wire -title "Emulated wires: one wire on one core" -- $(GO) test -run '^$$' -bench . -benchtime 1x -count 3 -timeout 20m ./perf/wire/port
	$(BENCH) perf-wire-core -title "Emulated wires: the core's cost per frame" -- $(GO) test -run '^$$' -bench . -count 3 ./perf/wire
