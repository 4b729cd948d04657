package nginxplus

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/disjoint"
	"offpath/mitigate/internal/limitreq"
)

// tombstone is the value of a record whose verdict has ended early.
const tombstone = "-"

// tombstoneLife is how long it stands: long enough to reach all nodes of a cluster that
// shares its zones.
const tombstoneLife = time.Second

// record is what a verdict is at the load balancer.
type record struct {
	enforced bool
	action   string // block, tag, or a tier
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

// remaining is how long a record has to stand, 0 if its time is over.
func (r record) remaining(now time.Time) time.Duration {
	return max(0, time.Unix(r.expires, 0).Sub(now)).Truncate(time.Millisecond)
}

func (r record) write(key string, now time.Time) write {
	// A time of 0 would be no time: the record would stay as long as its zone lets it.
	return write{key: key, value: r.String(), expire: max(r.remaining(now), time.Millisecond), id: r.id}
}

// encode makes the record of an entry; reason says why there is none.
func (t *Target) encode(e *mitigate.Entry) (r record, reason string) {
	r = record{enforced: !e.Monitor, expires: e.Expires, id: e.ID}
	if e.Expires <= 0 {
		return r, fmt.Sprintf("expiry %d is no time", e.Expires)
	}
	switch e.Action {
	case detect.ActionBlock:
		r.action = "block"
	case detect.ActionTag:
		r.action = "tag"
	case detect.ActionRateLimit:
		tier, reason := limitreq.Find(t.tiers, e.Rate)
		if reason != "" {
			return r, reason
		}
		r.action = tier.Name()
	default:
		return r, fmt.Sprintf("it has no action %q", e.Action)
	}
	return r, ""
}

// choose picks from networks those that are written, so that none lies in another, and
// says which are not.
func choose(networks map[netip.Prefix]record) (chosen map[netip.Prefix]record, left []mitigate.Rejection) {
	chosen, overlapping := disjoint.Choose(networks, func(r record) bool { return r.enforced })
	for _, o := range overlapping {
		left = append(left, mitigate.Rejection{ID: networks[o.Network].id, Answer: fmt.Sprintf(
			"%s overlaps %s, which is in force: NGINX does not say which of the two would win", o.Network, o.Other)})
	}
	return chosen, left
}
