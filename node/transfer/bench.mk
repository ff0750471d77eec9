.PHONY: bench-transfer

bench-transfer: ## get with verification beside curl without, 1 GiB over loopback, in one run
	$(GO) test ./node/transfer -run '^$$' -bench 'Get|Curl' -benchtime 4x
