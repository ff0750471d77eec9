# The figures of dataplane/aead beside its peers, in one run on one core.
# The C peers need a compiler, libssl-dev and libipsec-mb-dev; without them only
# the Go libraries are compared.
.PHONY: bench-aead bench-aead-sweep

AEAD_CORE ?= 1

bench-aead: ## AEAD ciphers beside crypto/aes, x/crypto, OpenSSL and ipsec-mb, one core
	@mkdir -p bin
	$(GO) build -o bin/aead-bench ./dataplane/aead/bench
	@rm -f bin/aead-peers; $(CC) -O2 -Wall -o bin/aead-peers dataplane/aead/bench/peers/peers.c -lIPSec_MB -lcrypto || echo "without C peers"
	$(BENCH) aead -title "AEAD ciphers on one core, beside Go's, OpenSSL and ipsec-mb" -- ./bin/aead-bench -core $(AEAD_CORE) -peers "$$(ls bin/aead-peers 2>/dev/null)"

bench-aead-sweep: ## look for any length from 0 to 9000 that is slower than the Go libraries
	@mkdir -p bin
	$(GO) build -o bin/aead-bench ./dataplane/aead/bench
	$(BENCH) aead-sweep -title "AEAD at every length, fastest kernels" -- ./bin/aead-bench -core $(AEAD_CORE) -sweep
	$(BENCH) aead-sweep-avx2 -title "AEAD at every length, AVX2 kernels" -- env DSSN_CPU=avx2 ./bin/aead-bench -core $(AEAD_CORE) -sweep
