package f5bigip

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/disjoint"
)

// Bounds of a rate: the iRule computes with integers of 32 bits.
const (
	maxRequests = 1_000_000
	maxPeriod   = 24 * time.Hour
)

// record is what a verdict is at the load balancer.
type record struct {
	enforced bool
	action   string // block, tag or NperS
	expires  int64  // s
	id       mitigate.ID
}

func (r record) String() string {
	force := "w"
	if r.enforced {
		force = "e"
	}
	return force + ":" + r.action + ":" + strconv.FormatInt(r.expires, 10) + ":" + r.id.String()
}

// parseRecord is the inverse of String.
func parseRecord(text string) (r record, ok bool) {
	parts := strings.Split(text, ":")
	if len(parts) != 4 || parts[0] != "e" && parts[0] != "w" || parts[1] == "" {
		return r, false
	}
	expires, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil || expires < 0 {
		return r, false
	}
	id, err := mitigate.ParseID(parts[3])
	r = record{parts[0] == "e", parts[1], expires, id}
	return r, err == nil && r.String() == text
}

// encode makes the record of an entry; reason says why there is none.
func encode(e *mitigate.Entry) (r record, reason string) {
	r = record{enforced: !e.Monitor, expires: e.Expires, id: e.ID}
	if e.Expires <= 0 || e.Expires > maxExpiry {
		return r, fmt.Sprintf("expiry %d is no time that an iRule can compare", e.Expires)
	}
	switch e.Action {
	case detect.ActionBlock:
		r.action = "block"
	case detect.ActionTag:
		r.action = "tag"
	case detect.ActionRateLimit:
		per := time.Duration(e.Rate.Per)
		if e.Rate.Requests < 1 || e.Rate.Requests > maxRequests || per < time.Second || per > maxPeriod || per%time.Second != 0 {
			return r, fmt.Sprintf("%d requests per %s is not 1 to %d requests per whole seconds up to %s", e.Rate.Requests, per, maxRequests, maxPeriod)
		}
		r.action = fmt.Sprintf("%dper%d", e.Rate.Requests, per/time.Second)
	default:
		return r, fmt.Sprintf("it has no action %q", e.Action)
	}
	return r, ""
}

// maxExpiry is the last second that Tcl 8.4 surely compares right, in 2038.
const maxExpiry = 1<<31 - 1

// fit takes from verdicts those that the load balancer can hold, and says which not.
func fit(wanted map[netip.Prefix]record, capacity int) (chosen map[netip.Prefix]record, left []mitigate.Rejection) {
	networks := maps.Clone(wanted)
	maps.DeleteFunc(networks, func(p netip.Prefix, _ record) bool { return p.IsSingleIP() })
	chosen, overlapping := disjoint.Choose(networks, func(r record) bool { return r.enforced })
	for _, o := range overlapping {
		left = append(left, mitigate.Rejection{ID: networks[o.Network].id, Answer: fmt.Sprintf(
			"%s overlaps %s, which is in force: of two networks that both match only one can stand", o.Network, o.Other)})
	}
	for p, r := range wanted {
		if p.IsSingleIP() {
			chosen[p] = r
		}
	}
	over := len(chosen) - capacity
	if over <= 0 {
		return chosen, left
	}
	// What only watches gives way first, then what ends first.
	order := inOrder(chosen)
	slices.SortStableFunc(order, func(a, b netip.Prefix) int {
		ra, rb := chosen[a], chosen[b]
		if ra.enforced != rb.enforced {
			if rb.enforced {
				return -1
			}
			return 1
		}
		return cmp.Compare(ra.expires, rb.expires)
	})
	for _, p := range order[:over] {
		left = append(left, mitigate.Rejection{ID: chosen[p].id, Answer: fmt.Sprintf("there is room for %d verdicts", capacity)})
		delete(chosen, p)
	}
	return chosen, left
}

// inOrder are the networks of a map, always in the same order.
func inOrder(records map[netip.Prefix]record) []netip.Prefix {
	return slices.SortedFunc(maps.Keys(records), comparePrefixes)
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
