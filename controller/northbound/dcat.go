package northbound

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// DCATType is the media type of DCAT's answer.
const DCATType = "application/ld+json"

// DCAT writes datasets as a catalogue in JSON-LD in the words of the Data Catalog
// Vocabulary (W3C DCAT 3). A dataset is named by the address that its data answers
// at; its two distributions are the data and the manifest, whose BLAKE3 digest is
// the root that the registrant has signed. Versions point at the one before.
func DCAT(network string, list []Dataset) ([]byte, error) {
	out := ldCatalog{Context: ldContext, ID: "urn:dssn:" + network + ":catalogue", Type: "dcat:Catalog", Title: "Datasets of " + network, Datasets: []ldDataset{}}
	for i := range list {
		out.Datasets = append(out.Datasets, ldDatasetOf(&list[i]))
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the catalogue as JSON-LD: %w", err)
	}
	return append(text, '\n'), nil
}

var ldContext = map[string]string{
	"dcat": "http://www.w3.org/ns/dcat#",
	"dct":  "http://purl.org/dc/terms/",
	"foaf": "http://xmlns.com/foaf/0.1/",
	"rdfs": "http://www.w3.org/2000/01/rdf-schema#",
	"spdx": "http://spdx.org/rdf/terms#",
	"xsd":  "http://www.w3.org/2001/XMLSchema#",
}

type ldCatalog struct {
	Context  map[string]string `json:"@context"`
	ID       string            `json:"@id"`
	Type     string            `json:"@type"`
	Title    string            `json:"dct:title"`
	Datasets []ldDataset       `json:"dcat:dataset"`
}

type ldRef struct {
	ID string `json:"@id"`
}

type ldTyped struct {
	Type  string `json:"@type"`
	Value string `json:"@value"`
}

type ldAgent struct {
	Type string `json:"@type"`
	Name string `json:"foaf:name"`
}

type ldRights struct {
	Type  string `json:"@type"`
	Label string `json:"rdfs:label"`
}

type ldDataset struct {
	ID            string           `json:"@id"`
	Type          string           `json:"@type"`
	Identifier    string           `json:"dct:identifier"`
	Title         string           `json:"dct:title"`
	Publisher     ldAgent          `json:"dct:publisher"`
	Created       ldTyped          `json:"dct:created"`
	Issued        ldTyped          `json:"dct:issued"`
	AccessRights  ldRights         `json:"dct:accessRights"`
	Keywords      []string         `json:"dcat:keyword"`
	Previous      *ldRef           `json:"dcat:previousVersion,omitempty"`
	ReplacedBy    *ldRef           `json:"dct:isReplacedBy,omitempty"`
	Distributions []ldDistribution `json:"dcat:distribution"`
}

type ldDistribution struct {
	Type      string      `json:"@type"`
	Title     string      `json:"dct:title"`
	AccessURL ldRef       `json:"dcat:accessURL"`
	ByteSize  *ldTyped    `json:"dcat:byteSize,omitempty"`
	Checksum  *ldChecksum `json:"spdx:checksum,omitempty"`
}

type ldChecksum struct {
	Type      string  `json:"@type"`
	Algorithm ldRef   `json:"spdx:algorithm"`
	Value     ldTyped `json:"spdx:checksumValue"`
}

func ldTime(t time.Time) ldTyped {
	return ldTyped{"xsd:dateTime", t.UTC().Format(time.RFC3339)}
}

func ldDatasetOf(d *Dataset) ldDataset {
	r := &d.Record
	at := func(id string) string { return "http://[" + id + "]/" }
	out := ldDataset{
		ID: at(r.ID.String()), Type: "dcat:Dataset", Identifier: r.ID.String(), Title: r.Name,
		Publisher: ldAgent{"foaf:Organization", d.Institution}, Created: ldTime(r.Created), Issued: ldTime(d.Registered),
		AccessRights: ldRights{"dct:RightsStatement", "grade " + r.Grade.String()}, Keywords: []string{r.Category.String()},
		Distributions: []ldDistribution{
			{Type: "dcat:Distribution", Title: "the files", AccessURL: ldRef{at(r.ID.String())},
				ByteSize: &ldTyped{"xsd:nonNegativeInteger", strconv.FormatUint(uint64(r.Length), 10)}},
			{Type: "dcat:Distribution", Title: "the manifest", AccessURL: ldRef{at(r.ID.String()) + ".dssn/manifest"},
				Checksum: &ldChecksum{"spdx:Checksum", ldRef{"spdx:checksumAlgorithm_blake3"}, ldTyped{"xsd:hexBinary", r.Root.String()}}},
		},
	}
	if !d.Supersedes.IsZero() {
		out.Previous = &ldRef{at(d.Supersedes.String())}
	}
	if !d.SupersededBy.IsZero() {
		out.ReplacedBy = &ldRef{at(d.SupersededBy.String())}
	}
	return out
}
