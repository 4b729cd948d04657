package f5bigip

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"offpath/mitigate/internal/rest"
	"offpath/mitigate/internal/turn"
)

const (
	// maxAnswer is the most octets of an answer: a data group of 100,000 records has some
	// 10 MB.
	maxAnswer = 64 << 20
	// loginPause is how long a login that was refused is not tried again.
	loginPause = 10 * time.Second
	// rightsPause is how long after a 401 to a fresh token none is asked for: the user lacks
	// rights, and each login takes one of the tokens that it may have.
	rightsPause = time.Minute
	// tokenLife is that of a token that does not tell it, and the longest that is believed.
	tokenLife, maxTokenLife = 20 * time.Minute, 10 * time.Hour
)

// ErrNotPrepared says that the load balancer lacks a data group or the iRule: its
// configuration does not hold what `offpath target-config` prints.
var ErrNotPrepared = errors.New("load balancer is not prepared: add what `offpath target-config` prints to its configuration")

// refusal is an answer of iControl REST that is an error object.
type refusal struct {
	Code    int // HTTP's
	Message string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d: %q", r.Code, r.Message) }

func refusedWith(err error, code int) bool {
	var r *refusal
	return errors.As(err, &r) && r.Code == code
}

// client speaks iControl REST. Its methods may be called concurrently.
type client struct {
	server   rest.Server
	user     string
	password func() ([]byte, error)
	timeout  time.Duration // of one request

	// skew is how far the BIG-IP's clock is ahead, s, by the Date of its last answer.
	skew atomic.Int64

	logins  turn.Turn // one at a time, so that one token serves all
	login   token
	refused error     // the last login's
	again   time.Time // when it may be tried again
	failed  error     // the last that had no answer
	at      time.Time // when that ended
}

// token is what a login gives.
type token struct {
	text  string
	until time.Time // when a new one is asked for
}

func newClient(o *Options) (*client, error) {
	if problem := CheckAddress(o.Address); problem != "" {
		return nil, fmt.Errorf("address %q %s", o.Address, problem)
	}
	return &client{server: rest.Server{Address: o.Address, CA: o.CA}, user: o.User, password: o.Password, timeout: o.Timeout, logins: turn.New()}, nil
}

// CheckAddress says what is wrong with an address of iControl REST; "" if nothing is. A
// password travels there: so beyond loopback it has to be https.
func CheckAddress(address string) string { return rest.CheckAddress(address, true) }

// do sends one order, with a token; in a transaction if that is named. An answer that is an
// error object is a *refusal.
func (c *client) do(ctx context.Context, method, path, transaction string, in any) ([]byte, error) {
	var old string
	for again := false; ; again = true {
		text, err := c.token(ctx, old)
		if err != nil {
			return nil, err
		}
		header := http.Header{"X-F5-Auth-Token": {text}}
		if transaction != "" {
			header.Set("X-F5-Rest-Coordination-Id", transaction)
		}
		answer, err := c.send(ctx, method, path, header, in)
		if !refusedWith(err, http.StatusUnauthorized) {
			return answer, err
		}
		if again {
			if c.logins.Take(ctx) == nil {
				c.refused, c.again = err, time.Now().Add(rightsPause)
				c.logins.End()
			}
			return nil, err
		}
		old = text // the BIG-IP forgot it: its REST daemon started anew
	}
}

// token gives one that is valid as far as is known; it is not the old one.
func (c *client) token(ctx context.Context, old string) (string, error) {
	came := time.Now()
	if err := c.logins.Take(ctx); err != nil {
		return "", fmt.Errorf("f5 bigip: wait for a login: %w", err)
	}
	defer c.logins.End()
	now := time.Now()
	switch {
	case c.login.text != "" && c.login.text != old && now.Before(c.login.until):
		return c.login.text, nil
	case now.Before(c.again):
		return "", c.refused
	case came.Before(c.at): // what became of another's is known
		return "", c.failed
	}
	password, err := c.password()
	if err != nil {
		return "", fmt.Errorf("f5 bigip: password: %w", err)
	}
	c.login = token{}
	// The same three members whether the user is local or of a directory behind TMOS.
	answer, err := c.send(ctx, http.MethodPost, "/mgmt/shared/authn/login", http.Header{},
		map[string]string{"username": c.user, "password": string(password), "loginProviderName": "tmos"})
	if refusedWith(err, http.StatusUnauthorized) {
		err = fmt.Errorf("f5 bigip: login of %s: %w", c.user, err)
		c.refused, c.again = err, now.Add(loginPause)
	}
	if err != nil {
		if ctx.Err() == nil { // else it is the caller's own time that was over
			c.failed, c.at = err, time.Now()
		}
		return "", err
	}
	if c.login, err = parseLogin(answer, now); err != nil {
		return "", err
	}
	return c.login.text, nil
}

// parseLogin reads the answer to a login that was asked for at a time. The token is
// replaced somewhat before its end.
func parseLogin(answer []byte, now time.Time) (token, error) {
	var object struct {
		Token struct {
			Token   string
			Timeout float64 // s
		}
	}
	const longest = 1024
	err := json.Unmarshal(answer, &object)
	text := object.Token.Token
	if err != nil || text == "" || len(text) > longest || strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
		return token{}, fmt.Errorf("f5 bigip: the answer to the login holds no token: is it iControl REST?")
	}
	life := tokenLife
	if s := object.Token.Timeout; s >= 1 {
		life = time.Duration(min(s, maxTokenLife.Seconds()) * float64(time.Second))
	}
	return token{text, now.Add(life - min(time.Minute, life/4))}, nil
}

// send sends one request.
func (c *client) send(ctx context.Context, method, path string, header http.Header, in any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
		header.Set("Content-Type", "application/json")
	}
	request, err := http.NewRequestWithContext(ctx, method, c.server.URL(path), body)
	if err != nil {
		return nil, err
	}
	request.Header = header
	response, answer, err := c.server.Do(request, maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("f5 bigip: %w", err)
	}
	if r, ok := parseRefusal(response.StatusCode, answer); ok {
		return nil, fmt.Errorf("f5 bigip: %s %s: %w", method, path, r)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("f5 bigip: %s %s: answered %d, which is no answer of iControl REST", method, path, response.StatusCode)
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		c.skew.Store(int64(time.Until(date).Round(time.Second) / time.Second))
	}
	return answer, nil
}

// parseRefusal reads an error object of iControl REST. A 401 needs none: where it comes
// from the web server before it, it is a page.
func parseRefusal(status int, answer []byte) (*refusal, bool) {
	if status < http.StatusBadRequest {
		return nil, false
	}
	var object struct {
		Code    int
		Message string
	}
	if json.Unmarshal(answer, &object) != nil || object.Code != status {
		return &refusal{Code: status, Message: "not said"}, status == http.StatusUnauthorized
	}
	const longest = 300
	return &refusal{status, object.Message[:min(longest, len(object.Message))]}, true
}
