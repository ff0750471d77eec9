# Included by the Makefile: the tables of the room xdp, all rows in one run.
.PHONY: bench-xdp
bench-xdp: ## AF_XDP beside C and DPDK, transit beside the kernel (root, gcc, libxdp-dev, dpdk-dev, ethtool)
	$(BENCH) xdp -title "AF_XDP and transit, beside C, DPDK and the kernel" -- $(GO) test -run '^$$' -bench 'AFXDP|Transit|Repair' -benchtime 1x -timeout 30m ./xdp/bench
	@echo; echo "Packets lost while a table of 65,534 SIDs is swapped, and while the process is killed and started (goal: none; the tests fail otherwise)"
	$(GO) test -count=1 -v -run '^(TestASwapOfTheWholeTableLosesNoPacket|TestKillingTheNodeProcessLosesNoTransitPacket)$$' ./xdp
