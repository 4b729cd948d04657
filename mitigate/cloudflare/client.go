package cloudflare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"offpath/mitigate/internal/pacer"
	"offpath/mitigate/internal/rest"
)

const (
	// maxAnswer is the most octets of an answer: a page of 500 items has some 150 KB, and a
	// ruleset of 1,000 rules of 4 KB each 4 MB.
	maxAnswer = 16 << 20
	// maxHold is the longest that Cloudflare is believed that nothing may be asked; it
	// documents five minutes.
	maxHold = 10 * time.Minute
	// maxBackoff is the longest pause after a 429 that does not say how long.
	maxBackoff = 30 * time.Second
	// maxText is how many octets of a text of Cloudflare's an error shows.
	maxText = 300
)

// ErrNotPrepared says that lists or the rule are missing, or that the rule is another than
// `offpath target-config` prints.
var ErrNotPrepared = errors.New("lists or rule at Cloudflare are not prepared: see what `offpath target-config` prints")

// refusal is an answer that says that nothing was done, or, with Status 0, that an
// operation failed.
type refusal struct {
	Status  int // HTTP's
	Code    int // Cloudflare's
	Message string
}

func (r *refusal) Error() string {
	if r.Status == 0 {
		return fmt.Sprintf("the operation failed: %q", r.Message)
	}
	return fmt.Sprintf("%d: %q (%d)", r.Status, r.Message, r.Code)
}

// isMissing says that what was asked for is not there.
func isMissing(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.Status == http.StatusNotFound
}

// hasFailed says that an operation was begun, and failed.
func hasFailed(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.Status == 0
}

// isRefused says that Cloudflare found fault with what it was told, and not with who told
// it or where: with less of it, it may do.
func isRefused(err error) bool {
	var r *refusal
	if !errors.As(err, &r) {
		return false
	}
	switch r.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return false
	}
	return true
}

// throttledError says that Cloudflare takes no requests for a while.
type throttledError struct{ until time.Time }

func (e *throttledError) Error() string {
	return fmt.Sprintf("Cloudflare answered 429, too many requests: nothing is asked for another %s", time.Until(e.until).Round(time.Second))
}

// client speaks version 4 of Cloudflare's API, at the pace that it bears. Its methods may
// be called concurrently.
type client struct {
	base, account string
	token         func() ([]byte, error)
	timeout       time.Duration // of one request
	backoff       time.Duration // the first pause after a 429 that does not say how long
	requests      pacer.Pacer   // for which the kill switch does not wait
	http          *http.Client

	mu      sync.Mutex
	held    time.Time     // nothing is asked until then
	urgent  time.Time     // nor is the kill switch until then
	backing time.Duration // the last pause, if Cloudflare did not say how long
}

func newClient(o *Options) *client {
	return &client{
		base: strings.TrimSuffix(o.Address, "/"), account: o.Account, token: o.Token, timeout: o.Timeout, backoff: o.Pace,
		requests: pacer.Pacer{Interval: o.Gap},
		http: &http.Client{
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// CheckAddress says what is wrong with an address of the API; "" if nothing is. The token
// travels there: so beyond loopback it has to be https.
func CheckAddress(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "is not https://HOST/PATH"
	}
	if a, err := netip.ParseAddr(u.Hostname()); u.Scheme == "http" && (err != nil || !a.IsLoopback()) {
		return "would show the token to the network"
	}
	return ""
}

// order is one request.
type order struct {
	method, path string
	in           any  // body; nil: none
	urgent       bool // it waits for no other
	// atOnce has it fail rather than wait: it changes what was looked at just before.
	atOnce bool
}

// do sends one and reads what it results in, and the cursor to the next page, if there is
// one. While Cloudflare takes no requests it waits, if the context lasts that long.
func (c *client) do(ctx context.Context, o order, result any) (after string, err error) {
	for {
		if err := c.wait(ctx, o.urgent, o.atOnce); err != nil {
			return "", fmt.Errorf("cloudflare: %s %s: %w", o.method, o.path, err)
		}
		status, header, answer, err := c.send(ctx, o)
		if err != nil {
			return "", err
		}
		if status == http.StatusTooManyRequests {
			err := c.hold(header, time.Now(), o.urgent)
			if o.urgent || o.atOnce {
				return "", fmt.Errorf("cloudflare: %s %s: %w", o.method, o.path, err)
			}
			continue
		}
		c.mu.Lock()
		c.backing = 0
		c.mu.Unlock()
		if after, err = parseAnswer(status, answer, result); err != nil {
			err = fmt.Errorf("cloudflare: %s %s: %w", o.method, o.path, err)
		}
		return after, err
	}
}

// wait returns when a request may go.
func (c *client) wait(ctx context.Context, urgent, atOnce bool) error {
	if urgent || atOnce {
		c.requests.Pass()
	} else if err := c.requests.Wait(ctx); err != nil {
		return err
	}
	for {
		c.mu.Lock()
		until := c.held
		if urgent {
			until = c.urgent
		}
		c.mu.Unlock()
		rest := time.Until(until)
		if rest <= 0 {
			return ctx.Err()
		}
		if deadline, ok := ctx.Deadline(); atOnce || ok && deadline.Before(until) {
			return &throttledError{until}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rest):
		}
	}
}

// hold has nothing be asked for as long as a 429 says, or growing pauses. The kill switch
// is tried all the same, since the limit may be that of changes to lists alone; and again
// soon if it was refused itself.
func (c *client) hold(header http.Header, now time.Time, urgent bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	pause := retryAfter(header.Get("Retry-After"), now)
	if pause == 0 {
		c.backing = min(max(2*c.backing, c.backoff), maxBackoff)
		pause = c.backing
	}
	if until := now.Add(pause); until.After(c.held) {
		c.held = until
	}
	if urgent {
		c.urgent = now.Add(min(pause, 5*c.backoff))
	}
	return &throttledError{c.held}
}

// retryAfter reads a Retry-After (RFC 9110 section 10.2.3); 0: it says nothing.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxHold)
	}
	if at, err := http.ParseTime(text); err == nil && at.After(now) {
		return min(at.Sub(now), maxHold)
	}
	return 0
}

// send sends one request.
func (c *client) send(ctx context.Context, o order) (status int, header http.Header, answer []byte, err error) {
	token, err := c.token()
	if err != nil {
		return 0, nil, nil, fmt.Errorf("cloudflare: token: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var body io.Reader
	if o.in != nil {
		text, err := json.Marshal(o.in)
		if err != nil {
			return 0, nil, nil, err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, o.method, c.base+o.path, body)
	if err != nil {
		return 0, nil, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(token)))
	if o.in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, answer, err := rest.Do(c.http, request, maxAnswer)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("cloudflare: %w", err)
	}
	return response.StatusCode, response.Header, answer, nil
}

// maxCursor is the longest cursor that is sent back, octets.
const maxCursor = 4096

// parseAnswer reads the envelope that all answers come in. An answer of 4xx that has one is
// a *refusal; of 5xx it is not: what was ordered may have been done.
func parseAnswer(status int, answer []byte, result any) (after string, err error) {
	var envelope struct {
		Success *bool
		Errors  []struct {
			Code    int
			Message string
		}
		Result     json.RawMessage
		ResultInfo struct {
			Cursors struct{ After string }
		} `json:"result_info"`
	}
	if json.Unmarshal(answer, &envelope) != nil || envelope.Success == nil {
		return "", fmt.Errorf("answered %d, which is no answer of Cloudflare's API", status)
	}
	if !*envelope.Success || status < 200 || status > 299 {
		r := &refusal{Status: status, Message: "not said"}
		if len(envelope.Errors) > 0 {
			r.Code = envelope.Errors[0].Code
			r.Message = cut(envelope.Errors[0].Message)
		}
		if status < 400 || status > 499 {
			return "", errors.New(r.Error())
		}
		return "", r
	}
	if len(envelope.ResultInfo.Cursors.After) > maxCursor {
		return "", fmt.Errorf("a cursor of %d octets", len(envelope.ResultInfo.Cursors.After))
	}
	if err := json.Unmarshal(envelope.Result, result); err != nil || string(envelope.Result) == "null" {
		return "", fmt.Errorf("the answer's result is of another kind")
	}
	return envelope.ResultInfo.Cursors.After, nil
}

func cut(text string) string { return text[:min(len(text), maxText)] }
