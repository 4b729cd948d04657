package nginxplus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"offpath/mitigate"
	"offpath/mitigate/internal/rest"
)

const (
	// maxAnswer is the most octets of an answer: a zone of 100,000 records has 7 MB.
	maxAnswer = 64 << 20
	// maxBulk is the most octets of a request: less than client_body_buffer_size of the
	// configuration that Setup prints, beyond which NGINX answers 413.
	maxBulk = 7 << 20
	// connections is how many records are written at once.
	connections = 4
	// tries of one record: another writer may add or delete it meanwhile.
	tries = 3
)

// ErrNotPrepared says that the load balancer lacks a zone: its configuration does not
// hold what `offpath target-config` prints.
var ErrNotPrepared = errors.New("load balancer is not prepared: add what `offpath target-config` prints to its configuration")

// refusal is an answer of the API that is an error object.
type refusal struct {
	Status int
	Code   string // NGINX's own word for the error
	Text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s: %q", r.Status, r.Code, r.Text) }

// Codes of refusals that something else follows from.
const (
	codeNoZone  = "KeyvalNotFound"
	codeNoKey   = "KeyvalKeyNotFound"
	codeExists  = "KeyvalKeyExists"
	codeEntry   = "EntryExists"
	codeVersion = "UnknownVersion"
	codeNoRate  = "LimitReqNotFound"
)

func refusedWith(err error, codes ...string) bool {
	var r *refusal
	if !errors.As(err, &r) {
		return false
	}
	for _, c := range codes {
		if r.Code == c {
			return true
		}
	}
	return false
}

// client speaks the REST API. Its methods may be called concurrently.
type client struct {
	server   rest.Server
	user     string
	password func() ([]byte, error)
	timeout  time.Duration // of one request

}

// newClient takes http://HOST:PORT or https://HOST:PORT.
func newClient(o *Options) (*client, error) {
	if problem := CheckAddress(o.Address); problem != "" {
		return nil, fmt.Errorf("address %q %s", o.Address, problem)
	}
	return &client{
		server: rest.Server{Address: o.Address, CA: o.CA, Connections: connections + 1},
		user:   o.User, password: o.Password, timeout: o.Timeout,
	}, nil
}

// CheckAddress says what is wrong with an address of an API; "" if nothing is.
func CheckAddress(address string) string { return rest.CheckAddress(address, false) }

// do sends one request. An answer that is an error object of the API is a *refusal.
func (c *client) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, c.server.URL("/api/9"+path), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.user != "" {
		password, err := c.password()
		if err != nil {
			return nil, fmt.Errorf("nginx plus: password: %w", err)
		}
		request.SetBasicAuth(c.user, string(password))
	}
	response, answer, err := c.server.Do(request, maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("nginx plus: %w", err)
	}
	switch response.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusNoContent:
		return answer, nil
	}
	if r, ok := parseRefusal(response.StatusCode, answer); ok {
		return nil, fmt.Errorf("nginx plus: %s %s: %w", method, path, r)
	}
	return nil, fmt.Errorf("nginx plus: %s %s: answered %d, which is no answer of its API", method, path, response.StatusCode)
}

// parseRefusal reads an error object of the API.
func parseRefusal(status int, answer []byte) (*refusal, bool) {
	var object struct {
		Error struct {
			Status     int
			Text, Code string
		}
	}
	if json.Unmarshal(answer, &object) != nil || object.Error.Code == "" {
		return nil, false
	}
	const longest = 200
	return &refusal{status, object.Error.Code[:min(longest, len(object.Error.Code))], object.Error.Text[:min(longest, len(object.Error.Text))]}, true
}

// parseZone reads the records of a zone: values are strings, and what is not is no
// record of ours.
func parseZone(answer []byte) (map[string]string, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(answer, &raw); err != nil {
		return nil, fmt.Errorf("nginx plus: zone is no JSON object: %w", err)
	}
	zone := make(map[string]string, len(raw))
	for key, value := range raw {
		var text string
		if json.Unmarshal(value, &text) != nil {
			text = ""
		}
		zone[key] = text
	}
	return zone, nil
}

// zone lists a zone.
func (c *client) zone(ctx context.Context, name string) (map[string]string, error) {
	answer, err := c.do(ctx, http.MethodGet, "/http/keyvals/"+name, nil)
	if err != nil {
		return nil, prepared(err)
	}
	return parseZone(answer)
}

// prepared marks an error of a load balancer that lacks a zone.
func prepared(err error) error {
	if refusedWith(err, codeNoZone, codeVersion, codeNoRate) {
		return fmt.Errorf("%w: %w", ErrNotPrepared, err)
	}
	return err
}

// write is one record to be written.
type write struct {
	key, value string
	expire     time.Duration // 0: it stays
	id         mitigate.ID   // whose it is, for a rejection
}

// field is the write as a member of the JSON object that the API takes.
func (w *write) field() any {
	if w.expire == 0 {
		return w.value
	}
	return map[string]any{"value": w.value, "expire": w.expire.Milliseconds()}
}

// put adds or changes one record.
func (c *client) put(ctx context.Context, zone string, w write) error {
	body, err := json.Marshal(map[string]any{w.key: w.field()})
	if err != nil {
		return err
	}
	for range tries {
		if _, err = c.do(ctx, http.MethodPost, "/http/keyvals/"+zone, body); !refusedWith(err, codeExists, codeEntry) {
			return prepared(err)
		}
		if _, err = c.do(ctx, http.MethodPatch, "/http/keyvals/"+zone, body); !refusedWith(err, codeNoKey) {
			return prepared(err)
		}
	}
	return err
}

// change changes a record that is there; it is no failure if it is not.
func (c *client) change(ctx context.Context, zone, key string, value any) error {
	body, err := json.Marshal(map[string]any{key: value})
	if err != nil {
		return err
	}
	_, err = c.do(ctx, http.MethodPatch, "/http/keyvals/"+zone, body)
	if refusedWith(err, codeNoKey) {
		return nil
	}
	return prepared(err)
}

// fill writes records into a zone that is believed empty, all by one request, and says
// how many of them: 0 if it is not empty after all.
func (c *client) fill(ctx context.Context, zone string, writes []write) (int, error) {
	object := make(map[string]any, len(writes))
	size, n := 2, 0
	for ; n < len(writes); n++ {
		w := &writes[n]
		if size += len(w.key) + len(w.value) + len(`"":{"value":"","expire":12345678901},`); size > maxBulk {
			break
		}
		object[w.key] = w.field()
	}
	body, err := json.Marshal(object)
	if err != nil {
		return 0, err
	}
	_, err = c.do(ctx, http.MethodPost, "/http/keyvals/"+zone, body)
	if isRefusal(err) && !refusedWith(err, codeNoZone, codeVersion) {
		return 0, nil // one by one it shows what is wrong with which
	}
	if err != nil {
		return 0, prepared(err)
	}
	return n, nil
}

func isRefusal(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// rejects says whether an error is NGINX's answer to one record: its zone is full, say.
// Without write=on, or without the right to write, none is taken.
func rejects(err error) bool {
	var r *refusal
	if !errors.As(err, &r) || refusedWith(err, codeNoZone, codeVersion) {
		return false
	}
	switch r.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed:
		return false
	}
	return true
}

// each runs f for every record, some at a time; the answers to single ones are returned, in
// the order of the records.
func (c *client) each(ctx context.Context, writes []write, f func(context.Context, write) error) ([]mitigate.Rejection, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make([]string, len(writes))
	var (
		wg     sync.WaitGroup
		once   sync.Once
		failed error
	)
	next := make(chan int)
	for range min(connections, len(writes)) {
		wg.Go(func() {
			for i := range next {
				switch err := f(ctx, writes[i]); {
				case rejects(err):
					answers[i] = err.Error()
				case err != nil:
					once.Do(func() { failed = err; cancel() })
				}
			}
		})
	}
feed:
	for i := range writes {
		select {
		case next <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	wg.Wait()
	if failed == nil {
		failed = ctx.Err()
	}
	if failed != nil {
		return nil, failed
	}
	var rejections []mitigate.Rejection
	for i, a := range answers {
		if a != "" {
			rejections = append(rejections, mitigate.Rejection{ID: writes[i].id, Answer: a})
		}
	}
	return rejections, nil
}
