# bench-topology: the solver on the development topologies, all-pairs gravity
# demands at load 0.5, cold. Needs python3 and ../shared; BENCH_TOPOLOGY_DIR keeps
# the instances between runs.
BENCH_TOPOLOGY_DIR ?= /tmp/dssn-bench-topology
BENCH_TOPOLOGIES ?= Abilene Geant2012 Esnet Deltacom Interoute Colt UsCarrier Cogentco

.PHONY: bench-topology bench-topology-kdl
bench-topology: $(BENCH_TOPOLOGIES:%=$(BENCH_TOPOLOGY_DIR)/%.json)
	go run ./topology/internal/bench -reference ../shared/te/reference.json $^

bench-topology-kdl: $(BENCH_TOPOLOGY_DIR)/Kdl.json
	go run ./topology/internal/bench -objectives flow,lambda -gap 0.001 -reference ../shared/te/reference.json $^

$(BENCH_TOPOLOGY_DIR)/%.json: ../shared/topologies/%.json
	mkdir -p $(BENCH_TOPOLOGY_DIR)
	python3 ../shared/te/gen.py instance --topo $< --model gravity --pairs all --seed 1 --load 0.5 -o $@
