.PHONY: bench-content

bench-content: ## verify and publish in GB/s
	$(BENCH) content -title "Content trees: verify and publish" -- $(GO) test ./content -run '^$$' -bench . -benchtime 1s
