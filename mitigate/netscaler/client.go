package netscaler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"offpath/mitigate/internal/rest"
	"offpath/mitigate/internal/turn"
)

const (
	maxAnswer   = 16 << 20 // most octets of an answer; a page of bindings has some 200 kB
	pageSize    = 1000     // bindings in an answer
	maxPages    = 1000
	batch       = 500 // bindings in an order
	loginPause  = 10 * time.Second
	sessionLife = 15 * time.Minute // without an order
)

// NITRO's error codes.
const (
	codeNoSuchResource = 258
	codeExists         = 273
)

// ErrNotPrepared says that the load balancer lacks what `offpath target-config` prints.
var ErrNotPrepared = errors.New("load balancer is not prepared: apply what `offpath target-config` prints")

// refusal is an answer of NITRO that is an error.
type refusal struct {
	Status  int // HTTP's
	Code    int // NITRO's
	Message string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d, error %d: %q", r.Status, r.Code, r.Message) }

func refusedWith(err error, match func(*refusal) bool) bool {
	var r *refusal
	return errors.As(err, &r) && match(r)
}

func absent(r *refusal) bool  { return r.Status == http.StatusNotFound || r.Code == codeNoSuchResource }
func exists(r *refusal) bool  { return r.Code == codeExists }
func unknown(r *refusal) bool { return r.Status == http.StatusUnauthorized }

// client speaks NITRO. Its methods may be called concurrently.
type client struct {
	server   rest.Server
	user     string
	password func() ([]byte, error)
	timeout  time.Duration // of one request

	// skew is how far the NetScaler's clock is ahead, s, by the Date of its last answer.
	skew atomic.Int64

	logins  turn.Turn // one at a time, so that one session serves all
	session string
	refused error     // the last login's
	again   time.Time // when it may be tried again
	failed  error     // the last that had no answer
	at      time.Time // when that ended
}

func newClient(o *Options) *client {
	return &client{server: rest.Server{Address: o.Address, CA: o.CA}, user: o.User, password: o.Password, timeout: o.Timeout, logins: turn.New()}
}

// CheckAddress says what is wrong with an address of NITRO; "" if nothing is. A password
// travels there: so beyond loopback it has to be https.
func CheckAddress(address string) string { return rest.CheckAddress(address, true) }

// do sends one order within a session.
func (c *client) do(ctx context.Context, method, path string, in any) ([]byte, error) {
	var old string
	for again := false; ; again = true {
		session, err := c.login(ctx, old)
		if err != nil {
			return nil, err
		}
		answer, err := c.send(ctx, method, path, session, in)
		if again || !refusedWith(err, unknown) {
			return answer, err
		}
		old = session // it ended, or the NetScaler started anew
	}
}

// login gives a session; it is not the old one.
func (c *client) login(ctx context.Context, old string) (string, error) {
	came := time.Now()
	if err := c.logins.Take(ctx); err != nil {
		return "", fmt.Errorf("netscaler: wait for a login: %w", err)
	}
	defer c.logins.End()
	now := time.Now()
	switch {
	case c.session != "" && c.session != old:
		return c.session, nil
	case now.Before(c.again):
		return "", c.refused
	case came.Before(c.at): // what became of another's is known
		return "", c.failed
	}
	password, err := c.password()
	if err != nil {
		return "", fmt.Errorf("netscaler: password: %w", err)
	}
	c.session = ""
	answer, err := c.send(ctx, http.MethodPost, "login", "", map[string]any{"login": map[string]any{
		"username": c.user, "password": string(password), "timeout": int(sessionLife / time.Second),
	}})
	if refusedWith(err, unknown) {
		err = fmt.Errorf("netscaler: login of %s: %w", c.user, err)
		c.refused, c.again = err, now.Add(loginPause)
	}
	if err != nil {
		if ctx.Err() == nil { // else it is the caller's own time that was over
			c.failed, c.at = err, time.Now()
		}
		return "", err
	}
	c.session, err = parseLogin(answer)
	return c.session, err
}

// parseLogin reads the session of an answer to a login.
func parseLogin(answer []byte) (string, error) {
	var object struct {
		SessionID string `json:"sessionid"`
	}
	const longest = 1024
	err := json.Unmarshal(answer, &object)
	id := object.SessionID
	if err != nil || id == "" || len(id) > longest || strings.IndexFunc(id, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`",;\`, r)
	}) >= 0 {
		return "", fmt.Errorf("netscaler: the answer to the login holds no session: is it NITRO?")
	}
	return id, nil
}

// send sends one request.
func (c *client) send(ctx context.Context, method, path, session string, in any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.server.URL("/nitro/v1/config/"+path), body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
		// What is not carried out of a list is said, one by one; the rest is.
		request.Header.Set("X-NITRO-ONERROR", "continue")
	}
	if session != "" {
		request.AddCookie(&http.Cookie{Name: "NITRO_AUTH_TOKEN", Value: session})
	}
	response, answer, err := c.server.Do(request, maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("netscaler: %w", err)
	}
	if err := parseStatus(response.StatusCode, answer); err != nil {
		return nil, fmt.Errorf("netscaler: %s %s: %w", method, path, err)
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		c.skew.Store(int64(time.Until(date).Round(time.Second) / time.Second))
	}
	return answer, nil
}

// parseStatus reads what NITRO says became of an order; nil: it was carried out. Only an
// answer that says so itself is believed: orders that change something are answered with 201
// or 200, in some versions without a body.
func parseStatus(status int, answer []byte) error {
	var object struct {
		ErrorCode *int   `json:"errorcode"`
		Message   string `json:"message"`
		Response  []struct {
			ErrorCode int    `json:"errorcode"`
			Message   string `json:"message"`
		} `json:"response"`
	}
	done := status == http.StatusOK || status == http.StatusCreated
	if done && len(bytes.TrimSpace(answer)) == 0 {
		return nil
	}
	if json.Unmarshal(answer, &object) != nil || object.ErrorCode == nil {
		if status == http.StatusUnauthorized {
			return &refusal{Status: status, Message: "not said"}
		}
		return fmt.Errorf("answered %d, which is no answer of NITRO", status)
	}
	if done && *object.ErrorCode == 0 {
		return nil
	}
	r := &refusal{Status: status, Code: *object.ErrorCode, Message: object.Message}
	listed := false
	for _, one := range object.Response {
		// That something is there already hides no worse error.
		if one.ErrorCode != 0 && (!listed || r.Code == codeExists) {
			r.Code, r.Message, listed = one.ErrorCode, one.Message, true
		}
	}
	const longest = 300
	r.Message = r.Message[:min(longest, len(r.Message))]
	return r
}

// binding is one of a string map or of a data set.
type binding struct {
	Name    string `json:"name"`
	Key     string `json:"key,omitempty"`
	Value   string `json:"value"`
	Comment string `json:"comment,omitempty"`
}

// Kinds of bindings.
const (
	mapBinding = "policystringmap_pattern_binding"
	setBinding = "policydataset_value_binding"
)

// list reads all bindings of one string map or data set.
func (c *client) list(ctx context.Context, kind, name string) ([]binding, error) {
	var all []binding
	for page := 1; page <= maxPages; page++ {
		answer, err := c.do(ctx, http.MethodGet, kind+"/"+name+"?pagesize="+strconv.Itoa(pageSize)+"&pageno="+strconv.Itoa(page), nil)
		if err != nil {
			return nil, prepared(err)
		}
		some, err := parseBindings(kind, answer)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if len(some) != pageSize { // the last; or all at once
			return all, nil
		}
	}
	return nil, fmt.Errorf("netscaler: %s has more than %d bindings", name, maxPages*pageSize)
}

// parseBindings reads a page; without bindings it has no such member.
func parseBindings(kind string, answer []byte) ([]binding, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(answer, &object); err != nil || object["errorcode"] == nil {
		return nil, fmt.Errorf("netscaler: bindings are not as NITRO has them")
	}
	var some []binding
	if text, ok := object[kind]; ok {
		if err := json.Unmarshal(text, &some); err != nil {
			return nil, fmt.Errorf("netscaler: bindings are not as NITRO has them: %w", err)
		}
	}
	return some, nil
}

// bind adds bindings, many in one order. Of a string map a key's new value replaces the old;
// that it is there already is an error, lest an old value stands.
func (c *client) bind(ctx context.Context, kind string, rows []binding) error {
	for len(rows) > 0 {
		n := min(batch, len(rows))
		_, err := c.do(ctx, http.MethodPut, kind, map[string]any{kind: rows[:n]})
		if err != nil && (kind != setBinding || !refusedWith(err, exists)) {
			return prepared(err)
		}
		rows = rows[n:]
	}
	return nil
}

// unbind removes one; that it is not there is no error.
func (c *client) unbind(ctx context.Context, kind, name, arg, value string) error {
	_, err := c.do(ctx, http.MethodDelete, kind+"/"+name+"?args="+arg+":"+url.QueryEscape(value), nil)
	if err != nil && !refusedWith(err, absent) {
		return err
	}
	return nil
}

// prepared marks an error of a load balancer that lacks an object.
func prepared(err error) error {
	if refusedWith(err, absent) {
		return fmt.Errorf("%w: %w", ErrNotPrepared, err)
	}
	return err
}
