.PHONY: bench-content

bench-content: ## verify and publish in GB/s
	$(GO) test ./content -run '^$$' -bench . -benchtime 1s
