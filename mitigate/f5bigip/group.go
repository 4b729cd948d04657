package f5bigip

import (
	"encoding/json"
	"fmt"
	"net/netip"
)

// row is a record of a data group, as iControl REST has it.
type row struct {
	Name string `json:"name"`
	Data string `json:"data"`
}

// group is a data group.
type group struct {
	Type    string `json:"type"`
	Link    string `json:"selfLink"`
	Records []row  `json:"records"`
}

// parseGroup reads a data group; one without records has no such member.
func parseGroup(answer []byte) (group, error) {
	var g group
	if err := json.Unmarshal(answer, &g); err != nil {
		return g, fmt.Errorf("f5 bigip: data group is not as iControl REST has it: %w", err)
	}
	if g.Type != typeIP && g.Type != typeString {
		const longest = 40
		return g, fmt.Errorf("f5 bigip: it is of type %q: is it a data group?", g.Type[:min(longest, len(g.Type))])
	}
	return g, nil
}

// Types of data groups.
const (
	typeIP     = "ip"
	typeString = "string"
)

// rowsOf are the rows of the records that a data group is to have: single addresses, or
// else networks.
func rowsOf(records map[netip.Prefix]record, single bool) []row {
	rows := []row{} // an empty list, not null: it replaces what is there
	for _, p := range inOrder(records) {
		if p.IsSingleIP() == single {
			rows = append(rows, row{p.String(), records[p].String()})
		}
	}
	return rows
}

// recordsOf adds the records of a data group to held; others counts those that are none of
// ours, or in the wrong group.
func recordsOf(g group, single bool, held map[netip.Prefix]record) (others int) {
	for _, row := range g.Records {
		p, err := parseNetwork(row.Name)
		r, ok := parseRecord(row.Data)
		if _, twice := held[p]; err != nil || !ok || twice || p.IsSingleIP() != single {
			others++
			continue
		}
		held[p] = r
	}
	return others
}

// parseNetwork reads the name of a record of type ip: with or without its length.
func parseNetwork(name string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		if a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q has a zone", name)
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(name)
	return p.Masked(), err
}
