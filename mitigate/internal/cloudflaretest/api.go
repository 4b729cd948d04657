package cloudflaretest

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What the API knows: an account, its zone, and the token of who may change both.
const (
	Account = "0123456789abcdef0123456789abcdef"
	Zone    = "fedcba9876543210fedcba9876543210"
	Zone2   = "fedcba9876543210fedcba9876543211"
	Token   = "a-token-of-the-test"
)

const (
	maxPerPage    = 500
	maxComment    = 500
	maxExpression = 4096
	phase         = "http_request_firewall_custom"
)

// API is Cloudflare's, for one account with two zones. Set its fields before it is used.
type API struct {
	// Quota is the most items of all lists; 0: 10,000.
	Quota int
	// Takes is how long an operation is pending, and then running.
	Takes time.Duration
	// Requests is how many may be sent in a Window; who sends more is blocked for Blocked.
	// 0: any number.
	Requests        int
	Window, Blocked time.Duration
	// ReadOnly says that the token may not change anything.
	ReadOnly bool
	// Fails is asked before an operation on a list is carried out: what is not empty is the
	// error that it fails with.
	Fails func(list string) string

	mu        sync.Mutex
	lists     []*list
	rulesets  map[string]*ruleset // by zone
	operation *operation          // the last
	ended     map[string]*operation
	asked     []time.Time
	blocked   time.Time
	counted   map[string]int
}

type list struct {
	id, name, kind string
	items          []item // in order
}

type item struct {
	id, comment string
	network     netip.Prefix
}

type ruleset struct {
	id      string
	version int
	rules   []map[string]any
}

type operation struct {
	id     string
	began  time.Time
	list   *list
	change func(l *list, room int) error
	done   bool
	failed string
}

type failure struct {
	status, code int
	message      string
	retry        time.Duration
}

func newID() string {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		panic(err)
	}
	return hex.EncodeToString(b)
}

// Copy gives it the lists and rules of another.
func (a *API) Copy(other *API) {
	other.mu.Lock()
	defer other.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lists, a.rulesets = nil, make(map[string]*ruleset)
	for _, l := range other.lists {
		a.lists = append(a.lists, &list{l.id, l.name, l.kind, slices.Clone(l.items)})
	}
	for zone, s := range other.rulesets {
		made := &ruleset{id: s.id, version: s.version}
		for _, r := range s.rules {
			made.rules = append(made.rules, maps.Clone(r))
		}
		a.rulesets[zone] = made
	}
}

// Count is how many requests of a method there were whose path holds a text.
func (a *API) Count(method, text string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, times := range a.counted {
		if m, path, _ := strings.Cut(key, " "); (method == "" || m == method) && strings.Contains(path, text) {
			n += times
		}
	}
	return n
}

// Items are those of a list, with their comments.
func (a *API) Items(name string) map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.proceed(time.Now())
	all := make(map[string]string)
	if l := a.named(name); l != nil {
		for _, it := range l.items {
			all[text(it.network)] = it.comment
		}
	}
	return all
}

// SetTakes changes Takes, also of an operation under way.
func (a *API) SetTakes(takes time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Takes = takes
}

// SetRequests changes Requests, Window and Blocked, and ends a block.
func (a *API) SetRequests(requests int, window, blocked time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Requests, a.Window, a.Blocked, a.asked, a.blocked = requests, window, blocked, nil, time.Time{}
}

// Put puts an item into a list as a person would; Drop takes it out.
func (a *API) Put(name, network, comment string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, ok := parse(network)
	if !ok {
		panic(network)
	}
	a.named(name).put([]item{{newID(), comment, p}})
}

// Drop implements what Put says.
func (a *API) Drop(name, network string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, _ := parse(network)
	l := a.named(name)
	l.items = slices.DeleteFunc(l.items, func(it item) bool { return it.network == p })
}

// DeleteList deletes a list although rules refer to it; such a rule then matches nobody.
func (a *API) DeleteList(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lists = slices.DeleteFunc(a.lists, func(l *list) bool { return l.name == name })
}

// Rule changes the member of a rule of a zone, by the rule's ref, as a person would.
func (a *API) Rule(zone, ref, member string, value any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.rulesets[zone].rules {
		if r["ref"] == ref {
			r[member] = value
		}
	}
}

// Rules are those of a zone.
func (a *API) Rules(zone string) (all []map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.rulesets[zone]; s != nil {
		for _, r := range s.rules {
			all = append(all, maps.Clone(r))
		}
	}
	return all
}

// DeleteRule deletes a rule.
func (a *API) DeleteRule(zone, ref string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.rulesets[zone]
	s.rules = slices.DeleteFunc(s.rules, func(r map[string]any) bool { return r["ref"] == ref })
}

func (a *API) named(name string) *list {
	for _, l := range a.lists {
		if l.name == name {
			return l
		}
	}
	return nil
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/client/v4")
	if !ok {
		http.NotFound(w, r)
		return
	}
	a.mu.Lock()
	if a.counted == nil {
		a.counted = make(map[string]int)
	}
	a.counted[r.Method+" "+path]++
	now := time.Now()
	var result any
	info := map[string]any{}
	failed := a.limit(now)
	if failed == nil {
		a.proceed(now)
		result, failed = a.answer(r, strings.Split(strings.Trim(path, "/"), "/"), body, info)
	}
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	envelope := map[string]any{"success": failed == nil, "errors": []any{}, "messages": []any{}, "result": result}
	if len(info) > 0 {
		envelope["result_info"] = info
	}
	if failed != nil {
		envelope["result"] = nil
		envelope["errors"] = []any{map[string]any{"code": failed.code, "message": failed.message}}
		if failed.retry > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((failed.retry+time.Second-1)/time.Second)))
		}
		w.WriteHeader(failed.status)
	}
	if err := json.NewEncoder(w).Encode(envelope); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// limit is the limit of requests of a user.
func (a *API) limit(now time.Time) *failure {
	if a.Requests == 0 {
		return nil
	}
	if now.Before(a.blocked) {
		return &failure{429, 10429, "Rate limited. Please wait and consider throttling your request speed", a.blocked.Sub(now)}
	}
	a.asked = append(slices.DeleteFunc(a.asked, func(at time.Time) bool { return now.Sub(at) >= a.Window }), now)
	if len(a.asked) > a.Requests {
		a.blocked, a.asked = now.Add(a.Blocked), nil
		return &failure{429, 10429, "Rate limited. Please wait and consider throttling your request speed", a.Blocked}
	}
	return nil
}

// proceed carries out the operation that is due.
func (a *API) proceed(now time.Time) {
	o := a.operation
	if o == nil || o.done || now.Sub(o.began) < 2*a.Takes {
		return
	}
	o.done = true
	if a.Fails != nil {
		o.failed = a.Fails(o.list.name)
	}
	if o.failed == "" {
		quota := a.Quota
		if quota == 0 {
			quota = 10_000
		}
		for _, l := range a.lists {
			quota -= len(l.items)
		}
		if err := o.change(o.list, quota); err != nil {
			o.failed = err.Error()
		}
	}
	if a.ended == nil {
		a.ended = make(map[string]*operation)
	}
	a.ended[o.id] = o
}

var (
	notFound = &failure{404, 10001, "could not find the resource", 0}
	noRoute  = &failure{400, 7000, "No route for that URI", 0}
)

func invalid(format string, a ...any) *failure {
	return &failure{400, 10015, fmt.Sprintf(format, a...), 0}
}

// answer carries out a request. The caller holds the lock.
func (a *API) answer(r *http.Request, path []string, body []byte, info map[string]any) (any, *failure) {
	switch token := r.Header.Get("Authorization"); {
	case token == "":
		return nil, &failure{400, 9106, "Authentication failed (status: 400)", 0}
	case token != "Bearer "+Token, a.ReadOnly && r.Method != http.MethodGet:
		return nil, &failure{403, 10000, "Authentication error", 0}
	}
	if len(body) > 0 && r.Header.Get("Content-Type") != "application/json" {
		return nil, invalid("the body is no JSON")
	}
	at := func(words ...string) bool {
		return slices.EqualFunc(path, words, func(a, b string) bool { return a == b || b == "*" })
	}
	switch method := r.Method; {
	case len(path) < 2 || path[0] == "accounts" && path[1] != Account || path[0] == "zones" && path[1] != Zone && path[1] != Zone2:
		return nil, &failure{403, 10000, "Authentication error", 0}
	case at("accounts", "*", "rules", "lists") && method == http.MethodGet:
		all := []any{}
		for _, l := range a.lists {
			all = append(all, a.describe(l))
		}
		return all, nil
	case at("accounts", "*", "rules", "lists") && method == http.MethodPost:
		return a.makeList(body)
	case at("accounts", "*", "rules", "lists", "bulk_operations", "*") && method == http.MethodGet:
		return a.status(path[5])
	case at("accounts", "*", "rules", "lists", "*", "items"):
		i := slices.IndexFunc(a.lists, func(l *list) bool { return l.id == path[4] })
		if i < 0 {
			return nil, notFound
		}
		if method == http.MethodGet {
			return a.page(a.lists[i], r, info)
		}
		return a.begin(a.lists[i], method, body)
	case path[0] == "zones" && len(path) > 2 && path[2] == "rulesets":
		return a.onRulesets(method, path[1], path[3:], body)
	}
	return nil, noRoute
}

func (a *API) describe(l *list) map[string]any {
	referencing := 0
	for _, s := range a.rulesets {
		for _, r := range s.rules {
			if strings.Contains(fmt.Sprint(r["expression"]), "$"+l.name) {
				referencing++
			}
		}
	}
	return map[string]any{
		"id": l.id, "name": l.name, "kind": l.kind, "description": "", "num_items": len(l.items),
		"num_referencing_filters": referencing, "created_on": "2026-01-01T08:00:00Z", "modified_on": "2026-01-10T14:00:00Z",
	}
}

func (a *API) makeList(body []byte) (any, *failure) {
	var q struct{ Name, Kind, Description string }
	if json.Unmarshal(body, &q) != nil || q.Kind != "ip" || q.Name == "" || len(q.Name) > 50 || strings.Trim(q.Name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return nil, invalid("list %.100s", body)
	}
	if a.named(q.Name) != nil {
		return nil, &failure{409, 10014, "a list with this name already exists", 0}
	}
	l := &list{id: newID(), name: q.Name, kind: q.Kind}
	a.lists = append(a.lists, l)
	return a.describe(l), nil
}

func (a *API) status(id string) (any, *failure) {
	o := a.ended[id]
	if o == nil && a.operation != nil && a.operation.id == id {
		o = a.operation
	}
	if o == nil {
		return nil, notFound
	}
	answer := map[string]any{"id": o.id, "status": "pending"}
	switch {
	case o.failed != "":
		answer["status"], answer["error"], answer["completed"] = "failed", o.failed, "2026-01-10T14:00:00Z"
	case o.done:
		answer["status"], answer["completed"] = "completed", "2026-01-10T14:00:00Z"
	case time.Since(o.began) >= a.Takes:
		answer["status"] = "running"
	}
	return answer, nil
}

// text is how the API writes a network.
func text(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// parse reads what an item may be.
func parse(ip string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(ip)
	if err != nil {
		a, err := netip.ParseAddr(ip)
		if err != nil {
			return p, false
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	least, most := 12, 64
	if p.Addr().Is4() {
		least, most = 8, 32
	}
	return p, p == p.Masked() && p.Bits() >= least && p.Bits() <= most && !p.Addr().Is4In6()
}

// page is one of a list's items. A cursor is the position, in disguise.
func (a *API) page(l *list, r *http.Request, info map[string]any) (any, *failure) {
	query := r.URL.Query()
	size, from := 25, 0
	if text := query.Get("per_page"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxPerPage {
			return nil, invalid("per_page %s", text)
		}
		size = n
	}
	if cursor := query.Get("cursor"); cursor != "" {
		raw, err := hex.DecodeString(cursor)
		if err == nil {
			from, err = strconv.Atoi(string(raw))
		}
		if err != nil {
			return nil, invalid("cursor %s", cursor)
		}
	}
	var found []item
	for _, it := range l.items {
		if strings.HasPrefix(text(it.network), query.Get("search")) {
			found = append(found, it)
		}
	}
	from = min(from, len(found))
	to := min(from+size, len(found))
	all := []any{}
	for _, it := range found[from:to] {
		entry := map[string]any{"id": it.id, "ip": text(it.network), "created_on": "2026-01-01T08:00:00Z", "modified_on": "2026-01-01T08:00:00Z"}
		if it.comment != "" {
			entry["comment"] = it.comment
		}
		all = append(all, entry)
	}
	cursors := map[string]any{}
	if from > 0 {
		cursors["before"] = hex.EncodeToString([]byte(strconv.Itoa(max(0, from-size))))
	}
	if to < len(found) {
		cursors["after"] = hex.EncodeToString([]byte(strconv.Itoa(to)))
	}
	if len(cursors) > 0 {
		info["cursors"] = cursors
	}
	return all, nil
}

// put adds items, or gives those that are there the comment.
func (l *list) put(items []item) {
	at := make(map[netip.Prefix]int, len(l.items))
	for i, it := range l.items {
		at[it.network] = i
	}
	for _, it := range items {
		if i, there := at[it.network]; there {
			l.items[i].comment = it.comment
		} else {
			l.items = append(l.items, it)
		}
	}
	slices.SortFunc(l.items, func(a, b item) int {
		if c := a.network.Addr().Compare(b.network.Addr()); c != 0 {
			return c
		}
		return a.network.Bits() - b.network.Bits()
	})
}

// begin begins an operation, if none is under way.
func (a *API) begin(l *list, method string, body []byte) (any, *failure) {
	o := &operation{id: newID(), began: time.Now(), list: l}
	switch method {
	case http.MethodPost:
		var q []struct{ IP, Comment string }
		if json.Unmarshal(body, &q) != nil || len(q) == 0 {
			return nil, invalid("items %.100s", body)
		}
		seen := make(map[netip.Prefix]bool)
		var items []item
		for _, it := range q {
			p, ok := parse(it.IP)
			switch {
			case !ok:
				return nil, invalid("%s is no item of a list of kind ip", it.IP)
			case seen[p]:
				return nil, invalid("%s is there twice", it.IP)
			case len(it.Comment) > maxComment:
				return nil, invalid("a comment is longer than %d", maxComment)
			}
			seen[p] = true
			items = append(items, item{newID(), it.Comment, p})
		}
		o.change = func(l *list, room int) error {
			for _, it := range l.items {
				if seen[it.network] {
					room++
				}
			}
			if len(items) > room {
				return fmt.Errorf("the account would exceed its maximum number of list items")
			}
			l.put(items)
			return nil
		}
	case http.MethodDelete:
		var q struct{ Items []struct{ ID string } }
		if json.Unmarshal(body, &q) != nil || len(q.Items) == 0 {
			return nil, invalid("items %.100s", body)
		}
		gone := make(map[string]bool)
		for _, it := range q.Items {
			gone[it.ID] = true
		}
		o.change = func(l *list, _ int) error {
			n := 0
			for _, it := range l.items {
				if gone[it.id] {
					n++
				}
			}
			if n < len(gone) {
				return fmt.Errorf("an item was not found")
			}
			l.items = slices.DeleteFunc(l.items, func(it item) bool { return gone[it.id] })
			return nil
		}
	default:
		return nil, noRoute
	}
	if a.operation != nil && !a.operation.done {
		return nil, &failure{429, 10040, "there is a pending bulk operation: please wait and try again", 0}
	}
	a.operation = o
	return map[string]any{"operation_id": o.id}, nil
}
