package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// references is what reference.json says of an instance.
type references map[string]struct {
	Flow struct {
		Gbps float64 `json:"gbps"`
	} `json:"flow_any"`
	Lambda struct {
		Value float64 `json:"value"`
	} `json:"lambda_any"`
	Prototype struct {
		Lower float64 `json:"lower_gbps"`
	} `json:"prototype_flow_any"`
}

func readReference(file string) (references, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all struct {
		Dev references `json:"dev"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return all.Dev, nil
}

func (r references) optimum(name, goal string) string {
	ref, ok := r[name+"-g1"]
	switch {
	case !ok:
	case goal == "flow" && ref.Flow.Gbps > 0:
		return fmt.Sprintf("%.6g", ref.Flow.Gbps*1e9)
	case goal == "flow" && ref.Prototype.Lower > 0:
		return fmt.Sprintf("≥%.6g", ref.Prototype.Lower*1e9)
	case goal == "lambda" && ref.Lambda.Value > 0:
		return fmt.Sprintf("%.6g", ref.Lambda.Value)
	}
	return "-"
}
