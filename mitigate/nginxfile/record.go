package nginxfile

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/limitreq"
	"offpath/mitigate/internal/predicate"
)

// nesting is how many verdicts hold for one address at most: the printed rules have as many
// slots.
const nesting = 4

// The seconds of expiry that have ten digits, which the printed rules compare. Those of
// before the year 2001 have ended, and are never written.
const minExpires, maxExpires = 1_000_000_000, 9_999_999_999

// record is what a verdict is in the file.
type record struct {
	expires  int64 // s
	enforced bool
	action   string // block, tag, or a rate
	id       mitigate.ID
}

func (r record) String() string {
	force := "w"
	if r.enforced {
		force = "e"
	}
	return strconv.FormatInt(r.expires, 10) + ":" + force + ":" + r.action + ":" + r.id.String()
}

// parseRecord is the inverse of String.
func parseRecord(text string) (r record, ok bool) {
	parts := strings.Split(text, ":")
	if len(parts) != 4 || parts[2] == "" {
		return r, false
	}
	expires, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil || expires < minExpires || expires > maxExpires {
		return r, false
	}
	id, err := mitigate.ParseID(parts[3])
	r = record{expires, parts[1] == "e", parts[2], id}
	return r, err == nil && r.String() == text
}

// encode makes the record of an entry; reason says why there is none.
func (t *Target) encode(e *mitigate.Entry) (r record, reason string) {
	r = record{enforced: !e.Monitor, expires: e.Expires, id: e.ID}
	if e.Expires <= 0 || e.Expires > maxExpires {
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

// place is where an entry goes, and its record.
func (t *Target) place(e *mitigate.Entry) (netip.Prefix, record, error) {
	r, reason := t.encode(e)
	var client netip.Prefix
	if reason == "" {
		client, reason = predicate.Client(e.Subject)
	}
	if reason != "" {
		return client, r, &mitigate.UnsupportedError{Target: t.options.Name, Reason: reason}
	}
	return client, r, nil
}
