package nginxplustest

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

// bodySize is client_body_buffer_size of the configuration.
const bodySize = 8 << 20

// API is the REST API of one node. What is not in its configuration is not there.
type API struct {
	// Room is how many records a zone has room for; 0: any number. Beyond it a record is
	// refused: nothing is evicted.
	Room int
	// ReadOnly is the API without write=on.
	ReadOnly bool
	// Password is that of the user offpath; "" is none.
	Password string
	// Peers share with this node what is written into zones with the parameter sync.
	Peers []*API

	changed func() // after each write, without the lock

	mu       sync.Mutex
	zones    map[string]*zone
	limits   []string
	life     int // of the process
	reloads  int
	loaded   time.Time
	requests map[string]int
}

type zone struct {
	address, timeout, sync bool   // type=ip, timeout=, sync
	state                  string // file; "" is none
	records                map[string]record
}

type record struct {
	value   string
	expires time.Time // zero: never
}

// parameters of a directive, as in zone=NAME:SIZE.
var directive = regexp.MustCompile(`(?m)^\s*(keyval_zone|limit_req_zone)\s+(.*);`)

// NewAPI is the API of an NGINX Plus with a configuration.
func NewAPI(config string) *API {
	a := &API{zones: make(map[string]*zone), requests: make(map[string]int), changed: func() {}}
	for _, m := range directive.FindAllStringSubmatch(config, -1) {
		z, name := &zone{}, ""
		for _, word := range strings.Fields(m[2]) {
			key, value, _ := strings.Cut(word, "=")
			switch key {
			case "zone":
				name, _, _ = strings.Cut(value, ":")
			case "type":
				z.address = value == "ip"
			case "timeout":
				z.timeout = true
			case "state":
				z.state = value
			case "sync":
				z.sync = true
			}
		}
		if m[1] == "limit_req_zone" {
			a.limits = append(a.limits, name)
		} else {
			a.zones[name] = z
		}
	}
	a.Restart()
	return a
}

// Restart is a new process: zones are empty, but for what their state files hold.
func (a *API) Restart() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.life, a.reloads, a.loaded = a.life+1, 0, time.Now()
	for _, z := range a.zones {
		z.records = make(map[string]record)
		text, err := os.ReadFile(z.state)
		if z.state == "" || err != nil {
			continue
		}
		held := map[string]string{}
		if err := json.Unmarshal(text, &held); err != nil {
			panic(err)
		}
		for k, v := range held {
			z.records[k] = record{value: v}
		}
	}
}

// Reload reads the same configuration again: zones stay.
func (a *API) Reload() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reloads, a.loaded = a.reloads+1, time.Now()
}

// Records is what a zone holds now.
func (a *API) Records(name string) map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.zones[name].live()
}

// Requests counts those of a method.
func (a *API) Requests(method string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests[method]
}

// nextExpiry is when the next record ends; zero: none does.
func (a *API) nextExpiry() (next time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, z := range a.zones {
		z.live()
		for _, r := range z.records {
			if !r.expires.IsZero() && (next.IsZero() || r.expires.Before(next)) {
				next = r.expires
			}
		}
	}
	return next
}

// live drops what has ended and lists the rest. The caller holds the lock.
func (z *zone) live() map[string]string {
	now := time.Now()
	held := make(map[string]string, len(z.records))
	for k, r := range z.records {
		if !r.expires.IsZero() && !r.expires.After(now) {
			delete(z.records, k)
			continue
		}
		held[k] = r.value
	}
	return held
}

// has says whether a record is there. The caller holds the lock.
func (z *zone) has(key string) bool {
	r, there := z.records[key]
	return there && (r.expires.IsZero() || r.expires.After(time.Now()))
}

const prefix = "/api/9"

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.requests[r.Method]++
	a.mu.Unlock()
	if _, password, _ := r.BasicAuth(); password != a.Password {
		http.Error(w, "401 Authorization Required", http.StatusUnauthorized)
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, prefix)
	if !ok {
		refuse(w, http.StatusNotFound, "UnknownVersion", "unknown version")
		return
	}
	switch name, isZone := strings.CutPrefix(path, "/http/keyvals/"); {
	case isZone:
		a.serveZone(w, r, name)
	case path == "/nginx" && r.Method == http.MethodGet:
		a.mu.Lock()
		defer a.mu.Unlock()
		const milliseconds = "2006-01-02T15:04:05.000Z"
		answer(w, map[string]any{
			"version": "1.29.8", "build": "nginx-plus-r37", "address": "127.0.0.1", "generation": a.reloads + 1,
			"load_timestamp": a.loaded.UTC().Format(milliseconds), "timestamp": time.Now().UTC().Format(milliseconds),
			"pid": 100*a.life + 7, "ppid": 100 * a.life,
		})
	case strings.HasPrefix(path, "/http/limit_reqs/") && r.Method == http.MethodGet:
		for _, name := range a.limits {
			if path == "/http/limit_reqs/"+name {
				answer(w, map[string]any{"passed": 0, "delayed": 0, "rejected": 0, "delayed_dry_run": 0, "rejected_dry_run": 0})
				return
			}
		}
		refuse(w, http.StatusNotFound, "LimitReqNotFound", "limit_req not found")
	default:
		refuse(w, http.StatusNotFound, "PathNotFound", "path not found")
	}
}

func (a *API) serveZone(w http.ResponseWriter, r *http.Request, name string) {
	if r.Method != http.MethodGet && a.ReadOnly {
		refuse(w, http.StatusMethodNotAllowed, "MethodDisabled", "method disabled")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(w, http.StatusBadRequest, "BodyReadError", "reading request body failed")
		return
	}
	a.mu.Lock()
	z := a.zones[name]
	if z == nil {
		a.mu.Unlock()
		refuse(w, http.StatusNotFound, "KeyvalNotFound", "keyval not found")
		return
	}
	if r.Method == http.MethodGet {
		defer a.mu.Unlock()
		held := z.live()
		if key := r.URL.Query().Get("key"); key != "" {
			value, ok := held[key]
			if !ok {
				refuse(w, http.StatusNotFound, "KeyvalKeyNotFound", "keyval key not found")
				return
			}
			held = map[string]string{key: value}
		}
		answer(w, held)
		return
	}
	status, code, text := a.write(z, r, body)
	peers := a.Peers
	a.mu.Unlock()
	if code != "" {
		refuse(w, status, code, text)
		return
	}
	if z.sync && r.Method != http.MethodDelete {
		for _, p := range peers {
			p.take(name, body)
		}
	}
	a.changed()
	w.WriteHeader(status)
}

// pair is a member of the object that POST and PATCH take.
type pair struct {
	null   bool
	value  *string
	expire *int64
}

// UnmarshalJSON reads null, a string, or an object of value and expire.
func (p *pair) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		p.null = true
		return nil
	}
	if json.Unmarshal(text, &p.value) == nil {
		return nil
	}
	var object struct {
		Value  *string `json:"value"`
		Expire *int64  `json:"expire"`
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	err := d.Decode(&object)
	p.value, p.expire = object.Value, object.Expire
	return err
}

// write carries out POST, PATCH and DELETE. The caller holds the lock.
func (a *API) write(z *zone, r *http.Request, body []byte) (status int, code, text string) {
	if r.Method == http.MethodDelete {
		clear(z.records)
		return http.StatusNoContent, "", ""
	}
	const format = "KeyvalFormatError"
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	pairs := map[string]pair{}
	switch {
	case len(body) > bodySize:
		return http.StatusRequestEntityTooLarge, "RequestTooLarge", "request entity too large"
	case kind != "application/json" || !json.Valid(body):
		return http.StatusUnsupportedMediaType, "JsonError", "json error"
	case json.Unmarshal(body, &pairs) != nil:
		return http.StatusBadRequest, format, "invalid JSON"
	case len(pairs) == 0:
		return http.StatusBadRequest, format, "key required"
	case r.Method == http.MethodPost && len(pairs) > 1 && len(z.live()) > 0:
		return http.StatusBadRequest, format, "only one key can be added"
	case r.Method == http.MethodPatch && len(pairs) > 1:
		return http.StatusBadRequest, format, "only one key can be updated"
	}
	for key, p := range pairs {
		there := z.has(key)
		switch {
		case key == "" || z.address && !isNetwork(key):
			return http.StatusBadRequest, format, "invalid key format"
		case p.expire != nil && !z.timeout:
			return http.StatusBadRequest, format, "keyval timeout is not enabled"
		case p.expire != nil && *p.expire <= 0 || r.Method == http.MethodPost && (p.null || p.value == nil):
			return http.StatusBadRequest, format, "invalid JSON"
		case r.Method == http.MethodPost && there:
			return http.StatusConflict, "KeyvalKeyExists", "key already exists"
		case r.Method == http.MethodPatch && !there:
			return http.StatusNotFound, "KeyvalKeyNotFound", "keyval key not found"
		}
	}
	if r.Method == http.MethodPost && a.Room > 0 && len(z.live())+len(pairs) > a.Room {
		// The vendor's description has no status for this.
		return http.StatusInsufficientStorage, "KeyvalNoMemory", "no memory"
	}
	z.set(pairs)
	if r.Method == http.MethodPost {
		return http.StatusCreated, "", ""
	}
	return http.StatusNoContent, "", ""
}

// set writes pairs. The caller holds the lock.
func (z *zone) set(pairs map[string]pair) {
	for key, p := range pairs {
		if p.null {
			delete(z.records, key)
			continue
		}
		r := z.records[key]
		if p.value != nil {
			r.value = *p.value
		}
		r.expires = time.Time{}
		if p.expire != nil {
			r.expires = time.Now().Add(time.Duration(*p.expire) * time.Millisecond)
		}
		z.records[key] = r
	}
	if z.state != "" {
		text, err := json.Marshal(z.live())
		if err == nil {
			err = os.WriteFile(z.state, text, 0o600)
		}
		if err != nil {
			panic(err)
		}
	}
}

// take takes over what was written at another node: no deletions.
func (a *API) take(name string, body []byte) {
	pairs := map[string]pair{}
	if json.Unmarshal(body, &pairs) != nil {
		return
	}
	for key, p := range pairs {
		if p.null {
			delete(pairs, key)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.zones[name].set(pairs)
}

func isNetwork(key string) bool {
	if _, err := netip.ParseAddr(key); err == nil {
		return true
	}
	p, err := netip.ParsePrefix(key)
	return err == nil && p == p.Masked()
}

func answer(w http.ResponseWriter, object any) {
	text, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(text)
}

func refuse(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"status":%d,"text":%q,"code":%q},"request_id":"a2e1","href":"https://nginx.org/en/docs/http/ngx_http_api_module.html"}`, status, text, code)
}
