package f5bigiptest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"regexp"
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

// API is iControl REST, and the configuration that it changes.
type API struct {
	// TokenLife is that of a token; MaxTokens is how many a user may have.
	TokenLife time.Duration
	MaxTokens int
	// TransactionLife is how long a transaction may be open.
	TransactionLife time.Duration
	// Delay is how long each answer takes.
	Delay time.Duration
	// ReadOnly has the user without the right to change anything.
	ReadOnly bool
	// RefuseSave has the configuration not saved, as on a full disk.
	RefuseSave bool

	mu           sync.Mutex
	running      map[string]group // never changed in place
	saved        map[string]group
	rules        map[string]string
	tokens       map[string]time.Time
	transactions map[uint64]*transaction
	last         uint64
	logins       int
	saves        int
}

type group struct {
	kind     string
	records  map[string]string
	networks []netip.Prefix // of type ip
}

type transaction struct {
	ends     time.Time
	commands []func(map[string]group) error
}

var create = regexp.MustCompile(`(?m)^tmsh create ltm data-group internal (\S+) type (\S+)(?: records add \{(.*)\})?$`)

// NewAPI is a BIG-IP on which the printed commands were run, and saved.
func NewAPI(commands, rulePath, rule string) *API {
	a := &API{
		TokenLife: 20 * time.Minute, MaxTokens: 100, TransactionLife: 30 * time.Second,
		running: map[string]group{}, rules: map[string]string{rulePath: rule},
		tokens: map[string]time.Time{}, transactions: map[uint64]*transaction{}, last: 1_389_812_351,
	}
	for _, m := range create.FindAllStringSubmatch(commands, -1) {
		var rows []row
		for _, word := range strings.Fields(m[3]) {
			if word != "{" && word != "}" {
				rows = append(rows, row{Name: word})
			}
		}
		g, err := newGroup(m[2], rows)
		if err != nil {
			panic(err)
		}
		a.running[m[1]] = g
	}
	a.saved = clone(a.running)
	return a
}

type row struct {
	Name string `json:"name"`
	Data string `json:"data,omitempty"`
}

func newGroup(kind string, rows []row) (group, error) {
	g := group{kind: kind, records: map[string]string{}}
	for _, r := range rows {
		if kind == "ip" {
			p, err := netip.ParsePrefix(r.Name)
			if err != nil || p.Masked() != p {
				return g, fmt.Errorf("01070333:3: Invalid IP address %s", r.Name)
			}
			g.networks = append(g.networks, p)
		}
		if _, twice := g.records[r.Name]; twice || r.Name == "" {
			return g, fmt.Errorf("01020066:3: The requested record (%s) already exists", r.Name)
		}
		g.records[r.Name] = r.Data
	}
	return g, nil
}

func clone(m map[string]group) map[string]group {
	c := map[string]group{}
	for k, v := range m {
		c[k] = v
	}
	return c
}

func (a *API) group(name string) (group, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g, ok := a.running[name]
	if !ok {
		return g, fmt.Errorf("can't find class %s", name)
	}
	return g, nil
}

// Records are those of a data group of Common.
func (a *API) Records(name string) map[string]string {
	g, err := a.group("/Common/" + name)
	if err != nil {
		panic(err)
	}
	return g.records
}

// Set is what a person does at the BIG-IP.
func (a *API) Set(name string, records map[string]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var rows []row
	for k, v := range records {
		rows = append(rows, row{k, v})
	}
	g, err := newGroup(a.running["/Common/"+name].kind, rows)
	if err != nil {
		panic(err)
	}
	a.running["/Common/"+name] = g
}

// RestartREST is what a restart of the REST daemon does: tokens and transactions are
// forgotten; the data plane and its data groups live.
func (a *API) RestartREST() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens, a.transactions = map[string]time.Time{}, map[uint64]*transaction{}
}

// Reboot brings back what was saved.
func (a *API) Reboot() {
	a.RestartREST()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running = clone(a.saved)
}

// Logins, Saves and Open count logins, saves, and transactions that are open.
func (a *API) Logins() int { a.mu.Lock(); defer a.mu.Unlock(); return a.logins }
func (a *API) Saves() int  { a.mu.Lock(); defer a.mu.Unlock(); return a.saves }
func (a *API) Open() int   { a.mu.Lock(); defer a.mu.Unlock(); return len(a.transactions) }

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	time.Sleep(a.Delay)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	status, answer := a.answer(r, body)
	text, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

func fail(status int, format string, args ...any) (int, any) {
	return status, map[string]any{"code": status, "message": fmt.Sprintf(format, args...), "errorStack": []string{}, "apiError": 3}
}

type object = map[string]any

func (a *API) answer(r *http.Request, body []byte) (int, any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for t, ends := range a.tokens {
		if !now.Before(ends) {
			delete(a.tokens, t)
		}
	}
	for id, t := range a.transactions {
		if !now.Before(t.ends) {
			delete(a.transactions, id)
		}
	}
	path, order := r.URL.Path, r.Method+" "
	if order+path == "POST /mgmt/shared/authn/login" {
		return a.login(body, now)
	}
	if _, ok := a.tokens[r.Header.Get("X-F5-Auth-Token")]; !ok {
		return fail(http.StatusUnauthorized, "X-F5-Auth-Token does not exist.")
	}
	if a.ReadOnly && r.Method != http.MethodGet {
		return fail(http.StatusUnauthorized, "Authorization failed: user=https://localhost/mgmt/shared/authz/users/%s", User)
	}
	const internal, rule, transactions = "/mgmt/tm/ltm/data-group/internal/", "/mgmt/tm/ltm/rule/", "/mgmt/tm/transaction"
	coordination := r.Header.Get("X-F5-REST-Coordination-Id")
	switch {
	case strings.HasPrefix(path, internal):
		name := strings.ReplaceAll(strings.TrimPrefix(path, internal), "~", "/")
		g, ok := a.running[name]
		if !ok {
			return fail(http.StatusNotFound, "01020036:3: The requested Internal Data Group (%s) was not found.", name)
		}
		if r.Method == http.MethodGet {
			return http.StatusOK, show(name, g)
		}
		var change struct{ Records []row }
		if r.Method != http.MethodPatch || json.Unmarshal(body, &change) != nil || change.Records == nil {
			return fail(http.StatusBadRequest, "Found invalid content-body")
		}
		command := func(running map[string]group) error {
			g, err := newGroup(running[name].kind, change.Records)
			if err == nil {
				running[name] = g
			}
			return err
		}
		if coordination != "" {
			id, _ := strconv.ParseUint(coordination, 10, 64)
			t := a.transactions[id]
			if t == nil {
				return fail(http.StatusNotFound, "Transaction %s is not found", coordination)
			}
			t.commands = append(t.commands, command)
			return http.StatusOK, object{"method": "PATCH", "evalOrder": len(t.commands), "commandId": len(t.commands)}
		}
		if err := command(a.running); err != nil {
			return fail(http.StatusBadRequest, "%v", err)
		}
		return http.StatusOK, show(name, a.running[name])
	case strings.HasPrefix(path, rule) && r.Method == http.MethodGet:
		name := strings.ReplaceAll(strings.TrimPrefix(path, rule), "~", "/")
		if text, ok := a.rules[name]; ok {
			return http.StatusOK, object{"kind": "tm:ltm:rule:rulestate", "fullPath": name, "apiAnonymous": text}
		}
		return fail(http.StatusNotFound, "01020036:3: The requested iRule (%s) was not found.", name)
	case order+path == "POST "+transactions:
		a.last++
		a.transactions[a.last] = &transaction{ends: now.Add(a.TransactionLife)}
		return http.StatusOK, a.state(a.last, "STARTED")
	case strings.HasPrefix(path, transactions+"/"):
		id, _ := strconv.ParseUint(strings.TrimPrefix(path, transactions+"/"), 10, 64)
		t := a.transactions[id]
		if t == nil {
			return fail(http.StatusNotFound, "Transaction %d is not found", id)
		}
		switch r.Method {
		case http.MethodGet:
			return http.StatusOK, a.state(id, "STARTED")
		case http.MethodDelete:
			delete(a.transactions, id)
			return http.StatusOK, object{}
		}
		delete(a.transactions, id)
		running := clone(a.running)
		for _, command := range t.commands {
			if err := command(running); err != nil {
				return fail(http.StatusBadRequest, "transaction failed:%v", err)
			}
		}
		a.running = running
		return http.StatusOK, a.state(id, "COMPLETED")
	case order+path == "POST /mgmt/tm/sys/config":
		if a.RefuseSave {
			return fail(http.StatusInternalServerError, "01071a2a:3: can't write: no space left")
		}
		a.saves++
		a.saved = clone(a.running)
		return http.StatusOK, object{"kind": "tm:sys:config:savestate", "command": "save"}
	}
	return fail(http.StatusNotFound, "Public URI path not registered: %s", path)
}

func (a *API) login(body []byte, now time.Time) (int, any) {
	var who struct{ Username, Password, LoginProviderName string }
	if json.Unmarshal(body, &who) != nil || who.LoginProviderName != "tmos" {
		return fail(http.StatusBadRequest, "invalid login")
	}
	a.logins++
	if who.Username != User || who.Password != Password {
		return fail(http.StatusUnauthorized, "Authentication failed.")
	}
	if len(a.tokens) >= a.MaxTokens {
		return fail(http.StatusBadRequest, "user %s has reached maximum active login tokens", who.Username)
	}
	token := fmt.Sprintf("TOKEN%020d", a.logins)
	a.tokens[token] = now.Add(a.TokenLife)
	return http.StatusOK, object{"username": who.Username, "token": object{"token": token, "name": token, "timeout": max(1, int(a.TokenLife/time.Second))}}
}

func (a *API) state(id uint64, state string) object {
	return object{"transId": id, "state": state, "timeoutSeconds": int(a.TransactionLife / time.Second), "kind": "tm:transactionstate"}
}

// show is a data group as GET has it: without records it has no such member.
func show(name string, g group) object {
	o := object{
		"kind": "tm:ltm:data-group:internal:internalstate", "fullPath": name, "type": g.kind,
		"selfLink": "https://localhost/mgmt/tm/ltm/data-group/internal/" + strings.ReplaceAll(name, "/", "~") + "?ver=17.1.1",
	}
	var rows []row
	for k, v := range g.records {
		rows = append(rows, row{k, v})
	}
	if rows != nil {
		o["records"] = rows
	}
	return o
}
