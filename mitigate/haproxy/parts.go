package haproxy

import (
	"fmt"
	"math/bits"
	"net/netip"
	"path/filepath"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/lua"
	"offpath/mitigate/internal/predicate"
	"offpath/mitigate/internal/printed"
)

// This file has what HAProxy is told in the same words whichever way offpath reaches it,
// for the packages that go another way than the Runtime API.

// KeyOf says under which key the verdict on a subject is looked up: an exact string, or a
// network. shape is that of a predicate, 0 if the key is an address's. A reason says why
// there is none.
func KeyOf(s detect.Subject) (key string, shape predicate.Shape, network netip.Prefix, reason string) {
	if s.Session != "" {
		return "", 0, network, "it does not compute session hashes"
	}
	p, reason := locate(s)
	if p.shape != 0 {
		shape = predicate.Shape(bits.TrailingZeros64(uint64(p.shape)))
	}
	return p.key, shape, p.network, reason
}

// Value is an entry as the value of a map: code:expiry:limit:id.
type Value struct{ record record }

// ValueOf makes the value of an entry; reason says why there is none.
func ValueOf(e *mitigate.Entry) (v Value, reason string) {
	v.record, reason = encode(e)
	return v, reason
}

// ParseValue is the inverse of String.
func ParseValue(text string) (v Value, ok bool) {
	v.record, ok = parseMapValue(text)
	return v, ok && v.String() == text
}

func (v Value) String() string { return v.record.mapValue() }

// ID is the verdict's; 0 without one.
func (v Value) ID() mitigate.ID { return v.record.id }

// Expires is the second since the epoch from which on it does nothing.
func (v Value) Expires() int64 { return int64(v.record.expires) }

// Enforced says that it does more than to tag and to count, where the mode lets it.
func (v Value) Enforced() bool { return v.record.code < monitorOffset }

// Parts are what the rules have in common wherever verdicts lie.
type Parts struct {
	Counters string // sections: the tables of rates and of hits
	Client   string // rules: txn.offpath_ip becomes the client's address
	// Actions are rules that do what stands in txn.offpath_act for the verdict
	// txn.offpath_id, with txn.offpath_limit, in txn.offpath_mode; to its end.
	Actions string
	// DeceptionSection is one of which the name, [DeceptionTable], tells that there is an
	// answer that deceives, and DeceptionFile the answer's body; "" without one.
	DeceptionSection, DeceptionFile string
	// Script is Lua, of which the local order, text_of, readers and hash are to be used.
	Script string
}

// Parts makes them; allow and allowLive are the maps of networks that are never refused,
// and lie where the body of the answer that deceives does.
func (s Setup) Parts(allow, allowLive string) (p Parts, err error) {
	s.setDefaults()
	if err := s.validate(); err != nil {
		return p, err
	}
	view := view{
		Setup: s, AllowFile: allow, AllowLiveFile: allowLive,
		Trusted: s.TrustedProxies, Hops: s.hops(), RateCounter: s.Counters[0], HitCounter: s.Counters[1],
		Tarpit: s.Tarpit.Milliseconds(),
	}
	if s.Deception != nil {
		view.Deception = &deceptionView{*s.Deception, filepath.Dir(allow) + "/" + deceptionFile}
		view.DeceptionTable = deceptionTable
	}
	p.DeceptionFile = view.deceptionFile()
	if err := printed.Texts(setupFiles, "setup/*.cfg", view, map[string]*string{"counters": &p.Counters, "client": &p.Client, "actions": &p.Actions, "deception": &p.DeceptionSection}); err != nil {
		return p, fmt.Errorf("haproxy setup: %w", err)
	}
	p.Script = lua.Shared + "\n" + requestScript
	return p, nil
}

// DeceptionTable is a stick table that is there where there are rules that deceive.
const DeceptionTable = deceptionTable

// HitTable is the stick table of hits; a key of it is read by [HitOf].
const HitTable = hitTable

// HitOf reads a key of the table of hits: whose requests it counts, and whether refused.
func HitOf(key string) (id mitigate.ID, refused, ok bool) {
	if len(key) < 2 || key[1] != ':' || key[0] != 'r' && key[0] != 'p' {
		return 0, false, false
	}
	id, err := mitigate.ParseID(key[2:])
	return id, key[0] == 'r', err == nil
}
