package netscalertest

import (
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

// User and Password are the only ones that may log in.
const (
	User     = "offpath"
	Password = "correct horse"
)

// maxBody is the most octets of an order.
const maxBody = 1 << 20

// API is NITRO, and the configuration that it changes.
type API struct {
	// SessionLife is that of a session without an order, if shorter than was asked for.
	SessionLife time.Duration
	// MaxSessions is how many there may be.
	MaxSessions int
	// RefuseSave has the configuration not saved, as on a full disk.
	RefuseSave bool
	// Refuse are keys of string maps that are refused.
	Refuse map[string]bool

	responder, rewrite *policies
	comments           map[string]string

	mu       sync.Mutex
	running  map[string]set // never changed in place, once it serves
	saved    map[string]set
	sessions map[string]time.Time
	logins   int
	saves    int
}

// set is a string map, or a data set whose values are keys.
type set struct {
	kind   string
	values map[string]string
}

// NewAPI is a NetScaler on which the printed commands were run, and saved.
func NewAPI(commands string) (*API, error) {
	a := &API{
		SessionLife: time.Hour, MaxSessions: 20, responder: newPolicies("NOOP"), rewrite: newPolicies("NOREWRITE"),
		comments: map[string]string{}, running: map[string]set{}, sessions: map[string]time.Time{},
	}
	for _, line := range strings.Split(commands, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := a.run(line); err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
	}
	a.saved = maps.Clone(a.running)
	return a, nil
}

func (a *API) stringMap(name string) (map[string]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.running[name]
	if !ok || s.kind != "stringmap" {
		return nil, fmt.Errorf("no string map %s", name)
	}
	return s.values, nil
}

func (a *API) inDataSet(name, text string) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.running[name]
	if !ok || s.kind == "stringmap" {
		return false, fmt.Errorf("no data set %s", name)
	}
	client, err := netip.ParseAddr(text)
	if err != nil {
		return false, err
	}
	for value := range s.values {
		if p, err := netip.ParsePrefix(value); value == text || err == nil && p.Contains(client) {
			return true, nil
		}
	}
	return false, nil
}

// Values are those of a string map, or the keys of a data set.
func (a *API) Values(name string) map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running[name].values
}

// Bind is what a person does at the command line.
func (a *API) Bind(name, key, value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.change(name, func(values map[string]string) { values[key] = value })
}

// change replaces a set by a changed one.
func (a *API) change(name string, f func(values map[string]string)) {
	s := a.running[name]
	s.values = maps.Clone(s.values)
	f(s.values)
	a.running[name] = s
}

// Reboot brings back what was saved, and forgets all sessions.
func (a *API) Reboot() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running, a.sessions = maps.Clone(a.saved), map[string]time.Time{}
}

// EndSessions forgets all sessions.
func (a *API) EndSessions() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions = map[string]time.Time{}
}

// Logins and Saves count these.
func (a *API) Logins() int { a.mu.Lock(); defer a.mu.Unlock(); return a.logins }
func (a *API) Saves() int  { a.mu.Lock(); defer a.mu.Unlock(); return a.saves }

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	status, answer := a.answer(r, body)
	text, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

type object = map[string]any

func done() object { return object{"errorcode": 0, "message": "Done", "severity": "NONE"} }

func fail(status, code int, message string) (int, object) {
	return status, object{"errorcode": code, "message": message, "severity": "ERROR"}
}

func (a *API) answer(r *http.Request, body []byte) (int, object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(a.sessions, func(_ string, ends time.Time) bool { return !now.Before(ends) })
	path, ok := strings.CutPrefix(r.URL.Path, "/nitro/v1/config/")
	if !ok {
		return fail(http.StatusNotFound, 1090, "Invalid object name")
	}
	if r.Method == http.MethodPost && path == "login" {
		return a.login(body, now)
	}
	cookie, err := r.Cookie("NITRO_AUTH_TOKEN")
	if err != nil || a.sessions[cookie.Value].IsZero() {
		return fail(http.StatusUnauthorized, 444, "Session expired or killed. Please login again")
	}
	a.sessions[cookie.Value] = now.Add(a.SessionLife)
	kind, name, _ := strings.Cut(path, "/")
	query := r.URL.Query()
	if kind == "nsconfig" && r.Method == http.MethodPost && query.Get("action") == "save" {
		if a.RefuseSave {
			return fail(599, 1067, "Cannot write the configuration: no space left")
		}
		a.saves++
		a.saved = maps.Clone(a.running)
		return http.StatusOK, done()
	}
	s, exists := a.running[name]
	isMap := s.kind == "stringmap"
	switch {
	case kind == "responderpolicylabel" && r.Method == http.MethodGet && a.responder.labels[name] != nil,
		kind == "rewritepolicylabel" && r.Method == http.MethodGet && a.rewrite.labels[name] != nil,
		kind == "policystringmap" && r.Method == http.MethodGet && exists && isMap,
		kind == "policydataset" && r.Method == http.MethodGet && exists && !isMap:
		o := done()
		o[kind] = []object{{"name": name, "comment": a.comments[name]}}
		return http.StatusOK, o
	case kind != "policystringmap_pattern_binding" && kind != "policydataset_value_binding":
		return fail(http.StatusNotFound, 258, "No such resource")
	case r.Method == http.MethodPut:
		return a.bind(kind, r.Header.Get("X-NITRO-ONERROR"), body)
	case !exists || isMap != (kind == "policystringmap_pattern_binding"):
		return fail(http.StatusNotFound, 258, "No such resource")
	case r.Method == http.MethodGet:
		return http.StatusOK, s.page(kind, name, query.Get("pagesize"), query.Get("pageno"))
	case r.Method == http.MethodDelete:
		arg, value, _ := strings.Cut(query.Get("args"), ":")
		if arg != map[bool]string{true: "key", false: "value"}[isMap] {
			return fail(http.StatusBadRequest, 1094, "Missing argument")
		}
		if _, there := s.values[value]; !there {
			return fail(http.StatusNotFound, 258, "No such resource")
		}
		a.change(name, func(values map[string]string) { delete(values, value) })
		return http.StatusOK, done()
	}
	return fail(http.StatusBadRequest, 1240, "Operation not permitted")
}

// page is a page of the bindings; without any there is no such member.
func (s set) page(kind, name, size, number string) object {
	n, err1 := strconv.Atoi(size)
	i, err2 := strconv.Atoi(number)
	keys := slices.Sorted(maps.Keys(s.values))
	if err1 == nil && err2 == nil && n > 0 && i > 0 {
		keys = keys[min(len(keys), n*(i-1)):min(len(keys), n*i)]
	}
	o := done()
	var rows []object
	for _, k := range keys {
		if s.kind == "stringmap" {
			rows = append(rows, object{"name": name, "key": k, "value": s.values[k]})
		} else {
			rows = append(rows, object{"name": name, "value": k})
		}
	}
	if rows != nil {
		o[kind] = rows
	}
	return o
}

// bind binds one or a list.
func (a *API) bind(kind, onError string, body []byte) (int, object) {
	var one map[string]json.RawMessage
	type row struct{ Name, Key, Value string }
	var rows []row
	if json.Unmarshal(body, &one) != nil || one[kind] == nil || json.Unmarshal(one[kind], &rows) != nil {
		return fail(http.StatusBadRequest, 1093, "Parse error")
	}
	copied := map[string]bool{} // once for all of the list
	for _, b := range rows {
		if _, ok := a.running[b.Name]; ok && !copied[b.Name] {
			copied[b.Name] = true
			a.change(b.Name, func(map[string]string) {})
		}
	}
	var answers []object
	failed := false
	for _, b := range rows {
		answer := done()
		s, ok := a.running[b.Name]
		switch {
		case !ok || (s.kind == "stringmap") != (kind == "policystringmap_pattern_binding"):
			_, answer = fail(0, 258, "No such resource")
		case s.kind == "stringmap" && (b.Key == "" || b.Value == "" || a.Refuse[b.Key]):
			_, answer = fail(0, 1097, "Invalid argument value")
		case s.kind != "stringmap":
			if _, there := s.values[b.Value]; there {
				_, answer = fail(0, 273, "Resource already exists")
			} else if p, err := parseNetwork(b.Value); err != nil || p.Addr().Is4() != (s.kind == "ipv4") {
				_, answer = fail(0, 1097, "Invalid argument value")
			} else {
				s.values[b.Value] = ""
			}
		case s.values[b.Key] == b.Value:
			_, answer = fail(0, 273, "Resource already exists")
		default:
			s.values[b.Key] = b.Value
		}
		answers = append(answers, answer)
		if answer["errorcode"] != 0 {
			failed = true
			if onError != "continue" {
				break
			}
		}
	}
	if failed {
		_, o := fail(0, 1243, "Bulk operation failed")
		o["response"] = answers
		return http.StatusMultiStatus, o
	}
	return http.StatusCreated, done()
}

func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

func (a *API) login(body []byte, now time.Time) (int, object) {
	var who struct {
		Login struct {
			Username, Password string
			Timeout            int
		}
	}
	if json.Unmarshal(body, &who) != nil {
		return fail(http.StatusBadRequest, 1093, "Parse error")
	}
	a.logins++
	if who.Login.Username != User || who.Login.Password != Password {
		return fail(http.StatusUnauthorized, 354, "Invalid username or password")
	}
	if len(a.sessions) >= a.MaxSessions {
		return fail(599, 446, "Connection limit to CFE exceeded")
	}
	id := fmt.Sprintf("##%040d", a.logins)
	a.sessions[id] = now.Add(min(a.SessionLife, time.Duration(who.Login.Timeout)*time.Second))
	o := done()
	o["sessionid"] = id
	return http.StatusCreated, o
}
