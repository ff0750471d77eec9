.PHONY: bench-transfer

bench-transfer: ## get with verification beside curl without, 1 GiB over loopback, in one run
	$(BENCH) transfer -title "Fetching with verification, beside curl without" -- $(GO) test ./node/transfer -run '^$$' -bench 'Get|Curl' -benchtime 4x
