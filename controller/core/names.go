package core

import (
	"net/netip"

	"dssn"
)

// What a name server asks: each answer is one look into an index.

// Operator returns the operator's /32 as it is configured.
func (c *Core) Operator() netip.Prefix { return c.s.Operator }

// HasInstitution reports whether an institution of this name is registered.
func (c *Core) HasInstitution(name string) bool { return c.s.Institutions[name] != nil }

// Newest returns the newest version of the dataset called name and its institution.
func (c *Core) Newest(name string) (id dssn.DataID, institution string, ok bool) {
	id, ok = c.s.Names[name]
	if !ok {
		return dssn.DataID{}, "", false
	}
	return id, c.s.Datasets[id].Institution, true
}

// NameOf returns the name and the institution of one version of a dataset.
func (c *Core) NameOf(id dssn.DataID) (name, institution string, ok bool) {
	d := c.s.Datasets[id]
	if d == nil {
		return "", "", false
	}
	return d.Record.Name, d.Institution, true
}

// CatalogueSerial grows whenever the catalogue does, and at other events too.
func (c *Core) CatalogueSerial() uint32 { return uint32(c.s.EventCount) }
