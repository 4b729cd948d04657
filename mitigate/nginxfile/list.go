package nginxfile

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"offpath/mitigate"
)

// The file begins with these lines and its generation, the hash of the rest, and ends with
// lastLine.
const (
	firstLine = "# Written by offpath; what is changed here is lost at its next order.\n"
	beforeGen = "geo $offpath_generation { default "
	afterGen  = "; }\n"
	allowLine = "geo $offpath_allowed {\n"
	heldLine  = "}\ngeo $offpath_held {\ndefault \"\";\n"
	lastLine  = "}\n# end\n"
)

// lenGeneration is the length of a generation, hex digits.
const lenGeneration = 16

// maxFile bounds the file, octets: a line of [maxCapacity] has at most some 230.
const maxFile = 64 << 20

// list is what the file says.
type list struct {
	allow []netip.Prefix // in order, each once
	held  map[netip.Prefix]record
	// generation is that of the file; "" if there is none such.
	generation string
}

// with is a copy with other verdicts or another allow-list, of no file yet.
func (l list) with(held map[netip.Prefix]record, allow []netip.Prefix) list {
	return list{allow: allow, held: held}
}

// live are the verdicts that have not ended.
func (l list) live(now time.Time) map[netip.Prefix]record {
	held := make(map[netip.Prefix]record, len(l.held))
	for p, r := range l.held {
		if r.expires > now.Unix() {
			held[p] = r
		}
	}
	return held
}

// same says whether two lists mean the same from now on.
func (l list) same(o list, now time.Time) bool {
	return slices.Equal(l.allow, o.allow) && maps.Equal(l.live(now), o.live(now))
}

// render makes the file, of what has not ended, and sets the generation.
func (l *list) render(now time.Time) []byte {
	var b bytes.Buffer
	b.WriteString(allowLine)
	for _, p := range l.allow {
		b.WriteString(p.String() + " 1;\n")
	}
	b.WriteString(heldLine)
	l.held = l.live(now)
	there := lengths(l.held)
	for _, p := range inOrder(l.held) {
		b.WriteString(p.String() + " " + l.held[p].String())
		for _, r := range around(l.held, there, p) {
			b.WriteString("," + r.String())
		}
		b.WriteString(";\n")
	}
	b.WriteString(lastLine)
	l.generation = hashOf(b.Bytes())
	return append([]byte(firstLine+beforeGen+l.generation+afterGen), b.Bytes()...)
}

func hashOf(rest []byte) string {
	sum := sha256.Sum256(rest)
	return hex.EncodeToString(sum[:])[:lenGeneration]
}

// lengths are those of the networks, the narrowest first.
func lengths(held map[netip.Prefix]record) []int {
	var has [129]bool
	for p := range held {
		has[p.Bits()] = true
	}
	var list []int
	for bits := len(has) - 1; bits >= 0; bits-- {
		if has[bits] {
			list = append(list, bits)
		}
	}
	return list
}

// around are the verdicts on the networks, of the lengths that there are, that hold another
// one, the narrowest first.
func around(held map[netip.Prefix]record, lengths []int, p netip.Prefix) (records []record) {
	for _, bits := range lengths {
		if bits >= p.Bits() {
			continue
		}
		if r, ok := held[netip.PrefixFrom(p.Addr(), bits).Masked()]; ok {
			records = append(records, r)
		}
	}
	return records
}

// shallow takes out what lies in too many networks, the wider first, and says so.
func shallow(held map[netip.Prefix]record) (left []mitigate.Rejection) {
	there := lengths(held)
	if len(there) <= nesting {
		return nil
	}
	order := inOrder(held)
	slices.SortStableFunc(order, func(a, b netip.Prefix) int { return cmp.Compare(a.Bits(), b.Bits()) })
	for _, p := range order {
		if n := len(around(held, there, p)); n >= nesting {
			left = append(left, mitigate.Rejection{ID: held[p].id, Answer: fmt.Sprintf(
				"%s lies in %d networks that have verdicts already, and nginx's rules look at %d", p, n, nesting)})
			delete(held, p)
		}
	}
	return left
}

// parseList reads a file that render has made; ok says whether it is one, unchanged.
func parseList(text []byte) (l list, ok bool) {
	rest, ok := bytes.CutPrefix(text, []byte(firstLine))
	generation := headGeneration(text)
	if !ok || generation == "" || len(text) > maxFile {
		return l, false
	}
	rest = rest[len(beforeGen)+lenGeneration+len(afterGen):]
	if hashOf(rest) != generation {
		return l, false
	}
	body, begins := bytes.CutPrefix(rest, []byte(allowLine))
	body, ends := bytes.CutSuffix(body, []byte(lastLine))
	allow, held, parted := strings.Cut(string(body), heldLine)
	if !begins || !ends || !parted {
		return l, false
	}
	l = list{held: make(map[netip.Prefix]record), generation: generation}
	for line := range strings.Lines(allow) {
		network, ok := strings.CutSuffix(line, " 1;\n")
		p, err := netip.ParsePrefix(network)
		if !ok || err != nil {
			return list{}, false
		}
		l.allow = append(l.allow, p)
	}
	for line := range strings.Lines(held) {
		network, records, _ := strings.Cut(line, " ")
		records, ok := strings.CutSuffix(records, ";\n")
		first, _, _ := strings.Cut(records, ",")
		p, err := netip.ParsePrefix(network)
		r, valid := parseRecord(first)
		if !ok || err != nil || !valid {
			return list{}, false
		}
		l.held[p] = r
	}
	return l, true
}

// headGeneration is the generation that a file says it has; "" if it says none.
func headGeneration(text []byte) string {
	rest, ok := bytes.CutPrefix(text, []byte(firstLine+beforeGen))
	if !ok || len(rest) < lenGeneration+len(afterGen) || !bytes.HasPrefix(rest[lenGeneration:], []byte(afterGen)) {
		return ""
	}
	return string(rest[:lenGeneration])
}

// inOrder are the networks of a map, always in the same order.
func inOrder(held map[netip.Prefix]record) []netip.Prefix {
	return slices.SortedFunc(maps.Keys(held), comparePrefixes)
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
