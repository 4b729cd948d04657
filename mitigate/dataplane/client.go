package dataplane

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"offpath/mitigate/internal/pacer"
	"offpath/mitigate/internal/rest"
)

const (
	// maxAnswer is the most octets of an answer: a map of 20,000 entries has 3 MB.
	maxAnswer = 64 << 20
	// connections is how many entries are written at once. The API itself sends one
	// command at a time to HAProxy.
	connections = 4
	// pace is the least time between two requests that write single entries.
	pace = 5 * time.Millisecond
	// tries of one entry: another writer may add or delete it meanwhile.
	tries = 3
	// longestMessage is how much is kept of what the API says, octets.
	longestMessage = 200
)

// Versions of the API, which have other paths for the same.
const (
	version2 = 2
	version3 = 3
)

// refusal is an answer of the API that says no.
type refusal struct {
	Status  int
	Message string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d: %q", r.Status, r.Message) }

func refusedWith(err error, status int) bool {
	var r *refusal
	return errors.As(err, &r) && r.Status == status
}

// client speaks the REST API. Its methods may be called concurrently.
type client struct {
	server   rest.Server
	user     string
	password func() ([]byte, error)
	timeout  time.Duration // of one request
	fixed    int           // the version that is configured; 0: none is
	singles  pacer.Pacer

	mu      sync.Mutex
	version int           // that it has; 0: not known
	ahead   time.Duration // its clock's, when it last answered
	// appended is when it last appended to a map what was to replace it.
	appended time.Time
}

func newClient(o *Options) (*client, error) {
	if problem := CheckAddress(o.Address); problem != "" {
		return nil, fmt.Errorf("address %q %s", o.Address, problem)
	}
	return &client{
		server: rest.Server{Address: o.Address, CA: o.CA, Connections: connections + 1},
		user:   o.User, password: o.Password, timeout: o.Timeout, fixed: o.Version,
		singles: pacer.Pacer{Interval: pace},
	}, nil
}

// CheckAddress says what is wrong with an address of an API; "" if nothing is. A password
// goes unencrypted to loopback alone.
func CheckAddress(address string) string { return rest.CheckAddress(address, true) }

// get asks for something.
func (c *client) get(ctx context.Context, path string) ([]byte, error) {
	return c.do(ctx, http.MethodGet, path, nil, http.StatusOK)
}

// do sends one request, which is carried out if it is answered with the status done. What
// the API refuses is a *refusal.
func (c *client) do(ctx context.Context, method, path string, body []byte, done int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, c.server.URL(path), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	password, err := c.password()
	if err != nil {
		return nil, fmt.Errorf("data plane api: password: %w", err)
	}
	request.SetBasicAuth(c.user, string(password))
	response, answer, err := c.server.Do(request, maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("data plane api: %w", err)
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		c.mu.Lock()
		c.ahead = time.Until(date) + time.Second/2 // whole seconds are told
		c.mu.Unlock()
	}
	if response.StatusCode == done {
		return answer, nil
	}
	if r, ok := parseRefusal(response.StatusCode, answer); ok {
		return nil, fmt.Errorf("data plane api: %s %s: %w", method, path, r)
	}
	return nil, fmt.Errorf("data plane api: %s %s: answered %d, which is no answer of its API", method, path, response.StatusCode)
}

// parseRefusal reads an error object of the API; some of its answers have none.
func parseRefusal(status int, answer []byte) (*refusal, bool) {
	if status < http.StatusBadRequest {
		return nil, false
	}
	var object struct {
		Code    int64
		Message string
	}
	if len(answer) > 0 && (json.Unmarshal(answer, &object) != nil || object.Code == 0) {
		return nil, false
	}
	return &refusal{status, object.Message[:min(longestMessage, len(object.Message))]}, true
}

// version finds out which version of the API there is, once.
func (c *client) versionOf(ctx context.Context) (int, error) {
	c.mu.Lock()
	version := c.version
	c.mu.Unlock()
	if version == 0 {
		if _, _, err := c.info(ctx); err != nil {
			return 0, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		version = c.version
	}
	return version, nil
}

// info asks for HAProxy's own description of its process, by the version that is
// configured or was answered to last, else by each. It shows which version there is.
func (c *client) info(ctx context.Context) (answer []byte, version int, err error) {
	c.mu.Lock()
	order := []int{version3, version2}
	switch {
	case c.fixed != 0:
		order = []int{c.fixed}
	case c.version == version2:
		order = []int{version2, version3}
	}
	c.mu.Unlock()
	for _, version := range order {
		answer, err = c.get(ctx, runtimePath(version)+"info")
		if refusedWith(err, http.StatusNotFound) {
			continue // the other version's paths are unknown
		}
		if err != nil {
			return nil, 0, err
		}
		c.mu.Lock()
		c.version = version
		c.mu.Unlock()
		return answer, version, nil
	}
	return nil, 0, fmt.Errorf("data plane api: it has none of the versions %v: %w", order, err)
}

// skew is how far the API's clock was ahead of ours when it last answered.
func (c *client) skew() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ahead
}

// process is HAProxy as the API describes it.
type process struct {
	pid    int64
	uptime int64 // s
	name   string
}

// parseInfo reads what HAProxy is; version 2 has a list of them.
func parseInfo(answer []byte) (p process, err error) {
	type info struct {
		Error string
		Info  *struct {
			Pid, Uptime int64
			Version     string
		}
	}
	var one info
	if trimmed := bytes.TrimSpace(answer); len(trimmed) > 0 && trimmed[0] == '[' {
		var list []info
		if err := json.Unmarshal(answer, &list); err != nil || len(list) == 0 {
			return p, fmt.Errorf("data plane api: it tells of no process of HAProxy")
		}
		one = list[0]
	} else if err := json.Unmarshal(answer, &one); err != nil {
		return p, fmt.Errorf("data plane api: what it tells of HAProxy's process is no JSON: %w", err)
	}
	if one.Error != "" {
		return p, fmt.Errorf("data plane api: it can't reach HAProxy: %q", one.Error[:min(longestMessage, len(one.Error))])
	}
	if one.Info == nil || one.Info.Pid <= 0 || one.Info.Uptime < 0 {
		return p, fmt.Errorf("data plane api: it says nothing of HAProxy's pid and start")
	}
	return process{one.Info.Pid, one.Info.Uptime, one.Info.Version[:min(64, len(one.Info.Version))]}, nil
}
