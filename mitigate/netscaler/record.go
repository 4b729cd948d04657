package netscaler

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/predicate"
)

// maxExpiry is the last second that a number of NetScaler's expressions, of 32 bits with a
// sign, can hold.
const maxExpiry = 1<<31 - 1

// Lengths of networks that the printed policies look up, the narrowest first.
var (
	lengths4 = []int{31, 30, 29, 28, 27, 26, 25, 24, 16}
	lengths6 = []int{64, 56, 48}
)

// record is what a verdict is at the load balancer.
type record struct {
	enforced bool
	action   string // block or tag
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
	if len(parts) != 4 || parts[0] != "e" && parts[0] != "w" || parts[1] != "block" && parts[1] != "tag" {
		return r, false
	}
	expires, err := strconv.ParseInt(parts[2], 10, 32)
	if err != nil || expires < 0 {
		return r, false
	}
	id, err := mitigate.ParseID(parts[3])
	r = record{parts[0] == "e", parts[1], expires, id}
	return r, err == nil && r.String() == text
}

// encode makes the key and the record of an entry; reason says why there is none.
func encode(e *mitigate.Entry) (key string, r record, reason string) {
	r = record{enforced: !e.Monitor, expires: e.Expires, id: e.ID}
	if e.Expires <= 0 || e.Expires > maxExpiry {
		return "", r, fmt.Sprintf("expiry %d is no time that its expressions can compare", e.Expires)
	}
	switch e.Action {
	case detect.ActionBlock:
		r.action = "block"
	case detect.ActionTag:
		r.action = "tag"
	default:
		return "", r, fmt.Sprintf("it has no action %q", e.Action)
	}
	key, reason = locate(e.Subject)
	return key, r, reason
}

// locate is the key of a subject; reason says why it has none.
func locate(s detect.Subject) (key, reason string) {
	client, reason := predicate.Client(s)
	switch {
	case reason != "":
		return "", reason
	case client.IsSingleIP():
		return client.Addr().String(), ""
	}
	lengths := lengths6
	if client.Addr().Is4() {
		lengths = lengths4
	}
	if !slices.Contains(lengths, client.Bits()) {
		return "", fmt.Sprintf("%s has %d bits: it matches IPv4 networks of 16 bits and of 24 to 31, and IPv6 networks of 48, 56 and 64", client, client.Bits())
	}
	return client.String(), ""
}

// fit takes from verdicts those that there is room for, and says which not: what only
// watches gives way first, then what ends first.
func fit(wanted map[string]record, capacity int) (chosen map[string]record, left []mitigate.Rejection) {
	over := len(wanted) - capacity
	if over <= 0 {
		return wanted, nil
	}
	chosen = maps.Clone(wanted)
	order := slices.SortedFunc(maps.Keys(wanted), func(a, b string) int {
		ra, rb := wanted[a], wanted[b]
		if ra.enforced != rb.enforced {
			if rb.enforced {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(ra.expires, rb.expires), cmp.Compare(a, b))
	})
	for _, key := range order[:over] {
		left = append(left, mitigate.Rejection{ID: chosen[key].id, Answer: fmt.Sprintf("there is room for %d verdicts", capacity)})
		delete(chosen, key)
	}
	return chosen, left
}

// allowRows are the values of the data sets of an allow-list, by family.
func allowRows(allow []netip.Prefix) (v4, v6 map[string]bool) {
	v4, v6 = map[string]bool{}, map[string]bool{}
	for _, p := range allow {
		if p.Addr().Is4() {
			v4[allowRow(p)] = true
		} else {
			v6[allowRow(p)] = true
		}
	}
	return v4, v6
}

// allowRow is a network as it is written into a data set.
func allowRow(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.Masked().String()
}

// canonical is the value of a data set as offpath writes it; what is no network stays.
func canonical(value string) string {
	if a, err := netip.ParseAddr(value); err == nil {
		return allowRow(netip.PrefixFrom(a, a.BitLen()))
	}
	if p, err := netip.ParsePrefix(value); err == nil {
		return allowRow(p)
	}
	return value
}
