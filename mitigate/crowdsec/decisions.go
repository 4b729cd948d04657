package crowdsec

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"offpath/mitigate/internal/pull"
)

// What every decision has in common.
const (
	origin   = "offpath"
	scenario = "offpath/block" // -ID
	ban      = "ban"
	scopeIP  = "Ip"
	scopeNet = "Range"
)

// maxQuery bounds what a request asks with, octets.
const maxQuery = 4 << 10

// decision is one as the Local API has it, its members in the same order.
type decision struct {
	Duration string `json:"duration"`
	ID       int64  `json:"id"`
	Origin   string `json:"origin"`
	Scenario string `json:"scenario"`
	Scope    string `json:"scope"`
	Type     string `json:"type"`
	Value    string `json:"value"`
}

// decisionOf writes an item with what is left of it.
func decisionOf(it *pull.Item, left int64) decision {
	d := decision{
		Duration: (time.Duration(left) * time.Second).String(), ID: it.Number, Origin: origin, Scenario: scenario,
		Scope: scopeNet, Type: ban, Value: it.Client.String(),
	}
	if it.ID != 0 {
		d.Scenario += "-" + it.ID.String()
	}
	if it.Client.IsSingleIP() {
		d.Scope, d.Value = scopeIP, it.Client.Addr().String()
	}
	return d
}

// left are the whole seconds that an item has left, so that it ends no later than said.
func left(it *pull.Item, now time.Time) int64 { return it.Expires - now.Unix() - 1 }

// filter is what a request leaves of the list.
type filter struct{ addresses, networks bool }

func (f filter) has(it *pull.Item) bool {
	if it.Client.IsSingleIP() {
		return f.addresses
	}
	return f.networks
}

// filterOf reads what stream and live requests have in common.
func filterOf(q url.Values) filter {
	scopes := list(strings.ToLower(q.Get("scopes")))
	if len(scopes) == 0 {
		scopes = []string{"ip", "range"}
	}
	f := filter{addresses: slices.Contains(scopes, "ip"), networks: slices.Contains(scopes, "range")}
	contains := func(w string) bool { return strings.Contains(scenario, w) }
	origins, with, without := list(q.Get("origins")), list(q.Get("scenarios_containing")), list(q.Get("scenarios_not_containing"))
	if len(origins) > 0 && !slices.Contains(origins, origin) ||
		len(with) > 0 && !slices.ContainsFunc(with, contains) || slices.ContainsFunc(without, contains) {
		return filter{}
	}
	return f
}

// asks says who a request is from. The filter alone tells two consumers of one program
// at one address apart, not the words that it is written with.
func asks(r *http.Request, f filter) pull.Asks {
	a := pull.Asking(r)
	a.Addresses, a.Networks = f.addresses, f.networks
	if !f.addresses {
		a.Filter += "no-ip"
	}
	if !f.networks {
		a.Filter += "no-range"
	}
	return a
}

// query reads a request's query; one that is too long or broken is answered.
func query(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(r.URL.RawQuery) > maxQuery {
		say(w, r, http.StatusBadRequest, "the query can't be read")
		return nil, false
	}
	return q, true
}

// stream answers with what changed since the pull before the last.
func (t *Target) stream(w http.ResponseWriter, r *http.Request) {
	q, ok := query(w, r)
	if !ok {
		return
	}
	if r.Method == http.MethodHead { // a trial of the key
		pull.Write(w, r, http.StatusOK, nil)
		return
	}
	f := filterOf(q)
	who := asks(r, f)
	changes, ok := t.Changes(&who, q.Get("startup") == "true")
	if !ok {
		notReady(w, r)
		return
	}
	// Bouncers differ in whether they take null for an empty list.
	out := struct {
		Deleted []decision `json:"deleted"`
		New     []decision `json:"new"`
	}{[]decision{}, []decision{}}
	now := time.Now()
	for i := range changes.Items {
		it := &changes.Items[i]
		switch left := left(it, now); {
		case !f.has(it):
		case it.Gone:
			out.Deleted = append(out.Deleted, decisionOf(it, 0))
		case left > 0:
			out.New = append(out.New, decisionOf(it, left))
		}
	}
	if answer(w, r, http.StatusOK, out) {
		t.Took(&changes, 0)
	}
}

// decisions answers what is known of an address or network, or everything; null if that
// is nothing.
func (t *Target) decisions(w http.ResponseWriter, r *http.Request) {
	q, ok := query(w, r)
	if !ok {
		return
	}
	if r.Method == http.MethodHead {
		pull.Write(w, r, http.StatusOK, nil)
		return
	}
	about, scope, all, problem := aboutOf(q)
	if problem != "" {
		say(w, r, http.StatusBadRequest, problem)
		return
	}
	f := filterOf(q)
	who := asks(r, f)
	who.Every, who.Filter = true, "live"
	var items []pull.Item
	switch {
	case all || q.Get("contains") == "false":
		var list pull.Answer
		list, ok = t.List(&who)
		items = list.Items
		if !all {
			items = slices.DeleteFunc(items, func(it pull.Item) bool { return about.Bits() > it.Client.Bits() || !about.Contains(it.Client.Addr()) })
		}
	default:
		items, ok = t.Find(&who, about)
	}
	if !ok {
		notReady(w, r)
		return
	}
	var out []decision
	now := time.Now()
	for i := range items {
		it := &items[i]
		d := decisionOf(it, left(it, now))
		if left(it, now) <= 0 || !f.has(it) || scope != "" && (!strings.EqualFold(d.Scope, scope) || q.Get("value") != "" && it.Client != about) ||
			q.Get("type") != "" && q.Get("type") != ban {
			continue
		}
		out = append(out, d)
	}
	answer(w, r, http.StatusOK, out)
}

// aboutOf reads what a live request is about: ip, range, or a value with its scope. all
// says that it does not say.
func aboutOf(q url.Values) (about netip.Prefix, scope string, all bool, problem string) {
	scope = q.Get("scope")
	for _, name := range []string{"ip", "range", "value"} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		if name == "value" && !strings.EqualFold(scope, scopeIP) && !strings.EqualFold(scope, scopeNet) {
			return netip.Prefix{}, scope, true, "" // a scope that nothing here has
		}
		if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
			return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), scope, false, ""
		}
		p, err := netip.ParsePrefix(text)
		if err != nil || name == "ip" {
			return p, scope, false, name + " is no address or network"
		}
		return p.Masked(), scope, false, ""
	}
	return netip.Prefix{}, scope, true, ""
}
