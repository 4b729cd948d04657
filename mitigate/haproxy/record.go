package haproxy

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/predicate"
)

// Names at the load balancer; [Setup] prints rules with the same.
const (
	verdictTable = "offpath_verdicts"
	hitTable     = "offpath_hits"

	networkMap   = "networks.map"
	allowMap     = "allow.map"      // the operator's own; never written
	allowLiveMap = "allow-live.map" // ours
	scriptFile   = "offpath.lua"

	deceptionFile  = "deception.body"    // the operator's own
	deceptionTable = "offpath_deception" // there are rules that deceive

	modeKey   = "mode"
	offKey    = "off"
	shapesKey = "shapes"
)

// The actions as HAProxy compares them, in gpt0. Above monitorOffset the entry
// only tags and counts, whatever the mode.
const (
	codeBlock   = 1
	codeRate1s  = 2
	codeRate10s = 3
	codeRate60s = 4
	codeTag     = 5
	codeDeceive = 6

	monitorOffset = 1000
)

// The modes in gpt0 of the row "mode".
const (
	modeOff     = 0
	modeMonitor = 1
	modeEnforce = 2
)

// never is the expiry of rows that are no verdicts.
const never = math.MaxUint32

// tiers are the periods for which HAProxy keeps rates, in seconds, longest
// first: it has none per row.
var tiers = [...]struct {
	seconds int64
	code    uint32
}{{60, codeRate60s}, {10, codeRate10s}, {1, codeRate1s}}

// record is an entry as it lies at HAProxy, its key aside.
type record struct {
	code    uint32
	expires uint32 // second since the epoch from which on it does nothing
	limit   uint32 // requests per period of the code
	id      mitigate.ID
}

// firm says that it does more than to tag and to count.
func (r record) firm() bool { return r.code != codeTag && r.code < monitorOffset }

// place is where an entry lies: a row of the verdict table, or a line of the
// network map.
type place struct {
	key     string       // row; "" for a network
	shape   shape        // 0: the row is an address's
	network netip.Prefix // line
}

// locate finds the place of a subject; reason says why it has none.
func locate(s detect.Subject) (p place, reason string) {
	switch {
	case s.JA4 != "":
		return p, "it does not compute JA4"
	case s.UserHash != "":
		return p, "no load balancer can match an account"
	case s.Client.IsValid() && (s.Client.Addr().Zone() != "" || s.Client.Addr().Is4In6()):
		return p, fmt.Sprintf("%s is not an address as seen on the wire", s.Client)
	case s == detect.Subject{}:
		return p, "the subject names nothing"
	case s.Session != "":
		p.key, reason = sessionRow(s)
		p.shape = sessionShape
		return p, reason
	case !predicate.PlainClient(s):
		p.key, p.shape, reason = predicateRow(s)
		return p, reason
	case s.Client.IsSingleIP():
		return place{key: "ip:" + addressText(s.Client.Addr())}, ""
	}
	return place{network: s.Client.Masked()}, ""
}

// addressText writes an address as HAProxy does, by inet_ntop(3). That differs
// from RFC 5952 for ::/96, whose last 32 bits it writes dotted.
func addressText(a netip.Addr) string {
	if a.Is6() {
		b := a.As16()
		if [12]byte(b[:12]) == [12]byte{} && (b[12] != 0 || b[13] != 0) {
			return "::" + netip.AddrFrom4([4]byte(b[12:])).String()
		}
	}
	return a.String()
}

// encode makes the record of an entry; reason says why there is none.
func encode(e *mitigate.Entry) (r record, reason string) {
	r = record{id: e.ID}
	if upper, lower := e.ID.Halves(); upper == 0 || lower == 0 {
		return r, fmt.Sprintf("verdict id %s has an empty half", e.ID)
	}
	if e.Expires <= 0 || e.Expires >= never {
		return r, fmt.Sprintf("expiry %d is not a 32-bit time", e.Expires)
	}
	r.expires = uint32(e.Expires)
	switch e.Action {
	case detect.ActionBlock:
		r.code = codeBlock
	case detect.ActionTag:
		r.code = codeTag
	case detect.ActionDeceive:
		r.code = codeDeceive
	case detect.ActionRateLimit:
		if r.code, r.limit, reason = encodeRate(e.Rate); reason != "" {
			return r, reason
		}
	default:
		return r, fmt.Sprintf("it has no action %q", e.Action)
	}
	if e.Monitor {
		r.code += monitorOffset
	}
	return r, ""
}

// encodeRate brings a rate to the longest tier within its period, rounding
// down: the client never gets more than the verdict grants, over the tier's
// period. A rate of less than one request per minute becomes one.
func encodeRate(rate detect.Rate) (code, limit uint32, reason string) {
	const second = 1e9
	if rate.Requests <= 0 || rate.Requests > math.MaxInt32 || rate.Per < second {
		return 0, 0, fmt.Sprintf("rate of %d requests per %d ns is out of range", rate.Requests, rate.Per)
	}
	seconds := rate.Per / second
	for _, tier := range tiers {
		if tier.seconds <= seconds {
			n := int64(rate.Requests) * tier.seconds / seconds
			return tier.code, uint32(max(n, 1)), ""
		}
	}
	return 0, 0, fmt.Sprintf("rate period of %d ns is out of range", rate.Per)
}

// setOrder is the command that writes a row.
func setOrder(key string, r record) (string, error) {
	upper, lower := r.id.Halves()
	if !plain(key) {
		return "", fmt.Errorf("key %q: %w", key, errUnsafe)
	}
	b := make([]byte, 0, 192)
	b = append(b, "set table "+verdictTable+" key "...)
	b = append(b, key...)
	b = append(b, " data.gpt0 "...)
	b = strconv.AppendUint(b, uint64(r.code), 10)
	b = append(b, " data.gpc0 "...)
	b = strconv.AppendUint(b, uint64(r.expires), 10)
	b = append(b, " data.gpc1 "...)
	b = strconv.AppendUint(b, uint64(r.limit), 10)
	b = append(b, " data.conn_cnt "...)
	b = strconv.AppendUint(b, uint64(upper), 10)
	b = append(b, " data.sess_cnt "...)
	b = strconv.AppendUint(b, uint64(lower), 10)
	return string(b), nil
}

// clearOrder is the command that removes a row; removing what is not there is
// no failure.
func clearOrder(key string) (string, error) {
	return command("clear", "table", verdictTable, "key", key)
}

// recordOfRow reads a row of the verdict table.
func recordOfRow(row tableRow) record {
	return record{
		code:    uint32(row.data["gpt0"]),
		expires: uint32(row.data["gpc0"]),
		limit:   uint32(row.data["gpc1"]),
		id:      mitigate.ID(row.data["conn_cnt"]<<32 | row.data["sess_cnt"]&0xffffffff),
	}
}

// mapValue is a record in the network map: code:expiry:limit:id.
func (r record) mapValue() string {
	return fmt.Sprintf("%d:%d:%d:%s", r.code, r.expires, r.limit, r.id)
}

// parseLine reads the record that a line of the network map is about: of two the last if it
// keeps nobody out, else the first.
func parseLine(value string) (r record, ok bool) {
	parts := strings.SplitAfterN(value, ":", 5)
	if len(parts) < 5 {
		return parseMapValue(value)
	}
	if r, ok = parseMapValue(parts[4]); !ok || !r.firm() {
		return r, ok
	}
	return parseMapValue(strings.TrimSuffix(strings.Join(parts[:4], ""), ":"))
}

// parseMapValue is the inverse of mapValue.
func parseMapValue(value string) (r record, ok bool) {
	parts := strings.Split(value, ":")
	if len(parts) != 4 {
		return r, false
	}
	var numbers [3]uint32
	for i := range numbers {
		n, err := strconv.ParseUint(parts[i], 10, 32)
		if err != nil {
			return r, false
		}
		numbers[i] = uint32(n)
	}
	id, err := mitigate.ParseID(parts[3])
	if err != nil {
		return r, false
	}
	return record{numbers[0], numbers[1], numbers[2], id}, true
}
