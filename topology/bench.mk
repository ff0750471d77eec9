# bench-topology: the solver, the calendar and a linear program side by side, on all-pairs
# gravity demands at load 0.5. Needs python3 and ../shared; the program clp (Debian:
# coinor-clp) for the linear programs. BENCH_TOPOLOGY_DIR keeps the instances between runs.
BENCH_TOPOLOGY_DIR ?= /tmp/dssn-bench-topology
BENCH_TOPOLOGIES ?= Abilene Geant2012 Esnet Deltacom Interoute Colt UsCarrier Cogentco
ALL_TOPOLOGIES ?= Abilene Geant2012 Cernet Chinanet Tinet Garr201201 AsnetAm Esnet Interoute Deltacom Ion DialtelecomCz TataNld GtsCe Colt UsCarrier Cogentco
BENCH_TOPOLOGY_LP ?= 20s
TOPOLOGY_BENCH = go run ./topology/internal/bench -reference ../shared/te/reference.json

.PHONY: bench-topology bench-topology-200 bench-topology-kdl bench-topology-large bench-topology-day judge-topology
bench-topology: bench-topology-200 bench-topology-kdl bench-topology-large ## the solver with its proofs beside the reference and a linear program (python3, ../shared, coinor-clp)

# up to 200 nodes: cold, after a failure, after a change, max-min warm beside cold, with the linear program
bench-topology-200: $(BENCH_TOPOLOGIES:%=$(BENCH_TOPOLOGY_DIR)/%.json)
	$(BENCH) topology-200 -title "Solver on networks of up to 200 nodes, beside a linear program" -- $(TOPOLOGY_BENCH) -tasks flow,lambda,maxmin,failure,change,fair -lp-limit $(BENCH_TOPOLOGY_LP) $^

# 754 nodes, 567,762 demands, and admission on its map
bench-topology-kdl: $(BENCH_TOPOLOGY_DIR)/Kdl.json
	$(BENCH) topology-kdl -title "Solver and admission on Kdl, 754 nodes" -- $(TOPOLOGY_BENCH) -tasks flow,lambda,maxmin,failure,change,admit -gap 0.001 -failures 8 $^

# made-up national networks: 1,000 nodes with 999,000 demands, 5,000 with 300,000
bench-topology-large: $(BENCH_TOPOLOGY_DIR)/1000.json $(BENCH_TOPOLOGY_DIR)/5000.json
	$(BENCH) topology-1000 -title "Solver on 1,000 nodes" -- $(TOPOLOGY_BENCH) -tasks flow,lambda -gap 0.01 $(BENCH_TOPOLOGY_DIR)/1000.json
	$(BENCH) topology-5000 -title "Solver on 5,000 nodes" -- $(TOPOLOGY_BENCH) -tasks flow,lambda -gap 0.02 -limit 60s $(BENCH_TOPOLOGY_DIR)/5000.json

# a day of failures, repairs and changes on Kdl, every answer verified
bench-topology-day: $(BENCH_TOPOLOGY_DIR)/Kdl.json
	$(BENCH) topology-day -title "A day of failures and changes on Kdl" -- $(TOPOLOGY_BENCH) -tasks day -events 200 $^

# every development topology, every objective, judged by the verifier of ../shared/te
judge-topology: $(ALL_TOPOLOGIES:%=$(BENCH_TOPOLOGY_DIR)/%.json) $(BENCH_TOPOLOGY_DIR)/Kdl.json
	$(TOPOLOGY_BENCH) -judge ../shared/te/verify.py $(ALL_TOPOLOGIES:%=$(BENCH_TOPOLOGY_DIR)/%.json)
	$(TOPOLOGY_BENCH) -judge ../shared/te/verify.py -tasks flow,lambda -gap 0.001 $(BENCH_TOPOLOGY_DIR)/Kdl.json

$(BENCH_TOPOLOGY_DIR)/%.json: ../shared/topologies/%.json
	mkdir -p $(BENCH_TOPOLOGY_DIR)
	python3 ../shared/te/gen.py instance --topo $< --model gravity --pairs all --seed 1 --load 0.5 -o $@

$(BENCH_TOPOLOGY_DIR)/1000.json $(BENCH_TOPOLOGY_DIR)/5000.json: $(BENCH_TOPOLOGY_DIR)/%.json:
	mkdir -p $(BENCH_TOPOLOGY_DIR)
	python3 ../shared/te/gen.py synth --nodes $* --seed 1 -o $(BENCH_TOPOLOGY_DIR)/synth-$*.json
	python3 ../shared/te/gen.py instance --topo $(BENCH_TOPOLOGY_DIR)/synth-$*.json --model gravity --pairs $(if $(filter 1000,$*),all,300000) --seed 1 --load 0.5 -o $@
