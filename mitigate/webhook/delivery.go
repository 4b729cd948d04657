package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"time"
)

// repetitions are the times before each repetition of a message.
var repetitions = []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 5 * time.Second}

// The times for which nothing is sent after a failure.
const (
	firstPause = time.Second
	maxPause   = time.Minute
	// maxOffPause is the longest between two tries of the kill switch.
	maxOffPause = 5 * time.Second
)

// pause keeps from hammering at a receiver that is out of order.
type pause struct {
	failures int
	until    time.Time
	cause    error
}

func (p *pause) failed(err error, asked, first, longest time.Duration, now time.Time) {
	p.failures++
	wait := longest
	if p.failures < 10 {
		wait = min(first<<(p.failures-1), longest)
	}
	p.until, p.cause = now.Add(max(wait, asked)), err
}

// wait is nil if something may be sent.
func (p *pause) wait(now time.Time) error {
	if left := p.until.Sub(now); left > 0 {
		return fmt.Errorf("%w (next try in %s)", p.cause, left.Round(time.Second))
	}
	return nil
}

// http makes the client at its first use, since the file of a CA may only be there where
// offpath runs.
func (t *Target) http() (*http.Client, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.client != nil {
		return t.client, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.options.CA != "" {
		text, err := os.ReadFile(t.options.CA)
		if err != nil {
			return nil, fmt.Errorf("read ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca %s holds no certificate in PEM", t.options.CA)
		}
	}
	dialer := net.Dialer{Timeout: t.options.Timeout}
	t.client = &http.Client{
		Timeout:       t.options.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := dialer.DialContext(ctx, network, address)
				if err == nil {
					if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
						remote := a.AddrPort().Addr().Unmap().WithZone("")
						t.remote.Store(&remote)
					}
				}
				return c, err
			},
			TLSClientConfig:        config,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: maxAnswerHead,
			DisableCompression:     true,
		},
	}
	return t.client, nil
}

// keys reads what messages are signed with.
func (t *Target) keys() ([][]byte, error) {
	secrets, err := t.options.Secrets()
	if err != nil {
		return nil, err
	}
	if len(secrets) == 0 {
		return nil, errors.New("no secret to sign with")
	}
	keys := make([][]byte, len(secrets))
	for i, s := range secrets {
		if keys[i], err = Key(s); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// post sends a message once. The error is a *refusedError, or of the transport.
func (t *Target) post(ctx context.Context, keys [][]byte, id string, body []byte) (answer, error) {
	client, err := t.http()
	if err != nil {
		return answer{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.options.URL, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	now := time.Now()
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "offpath")
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	r.Header.Set("Webhook-Signature", sign(keys, id, now.Unix(), body))
	// With it net/http sends again what met a connection that was just closed.
	r.Header.Set("Idempotency-Key", id)
	response, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	a := read(response, time.Now())
	switch {
	case a.status >= 200 && a.status <= 299:
		return a, nil
	case a.status >= 300 && a.status <= 399:
		return a, fmt.Errorf("receiver answered %d, a redirect to %q, which is not followed: write that as the address if it is right",
			a.status, line(response.Header.Get("Location"), maxWords))
	case a.status >= 400 && a.status <= 499 && a.status != http.StatusRequestTimeout && a.status != http.StatusTooManyRequests:
		return a, &refusedError{a}
	}
	return a, fmt.Errorf("receiver answered %s", &a)
}

// deliver sends a message, up to so many times, until it is answered. Its failure keeps
// others but the kill switch back for a while.
func (t *Target) deliver(ctx context.Context, m *message, tries int) error {
	t.mu.Lock()
	err := t.pause.wait(time.Now())
	t.mu.Unlock()
	if err != nil {
		return err
	}
	keys, err := t.keys()
	if err == nil {
		_, err = t.http()
	}
	if err != nil {
		return t.failed(ctx, err, answer{})
	}
	body, err := m.encode()
	if err != nil {
		return err
	}
	id := t.messageID(m)
	for try := 1; ; try++ {
		a, err := t.post(ctx, keys, id, body)
		var refused *refusedError
		if err == nil || errors.As(err, &refused) {
			t.answered(a, err == nil)
			return err
		}
		longest := t.repetitions[len(t.repetitions)-1]
		wait := t.repetitions[min(try, len(t.repetitions))-1]
		if a.retry > wait {
			wait = a.retry
		}
		deadline, limited := ctx.Deadline()
		if try >= tries || a.status/100 == 3 || limited && time.Until(deadline) < wait || wait > longest {
			return t.failed(ctx, err, a)
		}
		select {
		case <-ctx.Done():
			return t.failed(ctx, err, a)
		case <-time.After(wait):
		}
	}
}

// messageID is the idempotency key of a message.
func (t *Target) messageID(m *message) string {
	return fmt.Sprintf("%s_%d", t.life, m.Data.Sequence)
}

func (t *Target) failed(ctx context.Context, err error, a answer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.alive = time.Time{}
	if !errors.Is(ctx.Err(), context.Canceled) { // an order that was called off says nothing of the receiver
		t.pause.failed(err, a.retry, t.firstPause, maxPause, time.Now())
	}
	return err
}

// answered notes what an answer says beside yes or no.
func (t *Target) answered(a answer, taken bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pause = pause{}
	now := time.Now()
	t.alive = time.Time{}
	if !taken {
		return // what is wrong will show at the next ping
	}
	t.alive, t.off = now, a.off
	if a.receiver != t.identity.Process {
		t.identity.Process, t.mode = a.receiver, ""
	}
	t.identity.Version, t.identity.Skew = a.software, 0
	if !a.date.IsZero() {
		t.identity.Skew = a.date.Unix() - now.Unix()
	}
}

// Addresses implements [mitigate.Target]: where the receiver was last reached.
func (t *Target) Addresses() []netip.Addr {
	if a := t.remote.Load(); a != nil {
		return []netip.Addr{*a}
	}
	return nil
}
