package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/detect/jsonl"
	"offpath/mitigate/webhook"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// fault is what a receiver does with a request instead of answering it well.
type fault int

const (
	none      fault = iota
	reset           // of the connection, before anything is read
	lost            // it takes the message, and its answer is lost
	half            // it takes the message, and its answer breaks off in the body
	cut             // it takes the message, and its answer breaks off in the head
	broken          // 500
	busy            // 429, and come back at once
	slow            // no answer in time
	last            // of those that may pass
	redirects       // 302
)

// receiver does as the guide says, and keeps what it was told.
type receiver struct {
	server *httptest.Server
	t      testing.TB

	mu       sync.Mutex
	fault    func(m *received) fault
	refuse   func(m *received) (status int, words string)
	key      []byte // that it knows
	name     string // Offpath-Receiver
	off      bool   // Offpath-Mode: off
	verdicts map[string]*kept
	mode     detect.Mode
	modeAt   uint64
	since    uint64 // of the last snapshot
	networks []string
	log      []string          // event, reason and id, as they were new to it
	seen     map[string]string // bodies by id
	count    map[string]int    // messages by type, repeated ones too
	wrong    int               // signatures
	problem  string
}

type kept struct {
	sequence uint64
	verdict  *detect.Verdict // nil: ended
}

type received struct {
	ID   string `json:"-"`
	Type string
	Data struct {
		Source          string
		Sequence, Since uint64
		Mode            detect.Mode
		Release         bool
		Count           int
		Networks        []string
		Events          []struct {
			Event, Reason string
			Sequence      uint64
			Verdict       json.RawMessage
		}
	}
}

func newReceiver(t testing.TB) *receiver {
	r := prepareReceiver(t)
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

func prepareReceiver(t testing.TB) *receiver {
	key, err := webhook.Key([]byte(secret))
	require.NoError(t, err)
	return &receiver{t: t, key: key, verdicts: map[string]*kept{}, mode: detect.ModeOff, seen: map[string]string{}, count: map[string]int{}}
}

func (r *receiver) signed(h http.Header, body string) bool {
	stamp, err := strconv.ParseInt(h.Get("Webhook-Timestamp"), 10, 64)
	if err != nil || max(time.Now().Unix()-stamp, stamp-time.Now().Unix()) > 300 {
		return false
	}
	mac := hmac.New(sha256.New, r.key)
	io.WriteString(mac, h.Get("Webhook-Id")+"."+h.Get("Webhook-Timestamp")+"."+body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for s := range strings.SplitSeq(h.Get("Webhook-Signature"), " ") {
		if hmac.Equal([]byte(s), []byte(want)) {
			return true
		}
	}
	return false
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if q.Method != http.MethodPost || q.Header.Get("Content-Type") != "application/json" || q.Header.Get("Idempotency-Key") != q.Header.Get("Webhook-Id") {
		r.problem = "not as documented: " + q.Method + " " + q.Header.Get("Content-Type")
	}
	if !r.signed(q.Header, string(body)) {
		r.wrong++
		http.Error(w, "no signature fits", http.StatusUnauthorized)
		return
	}
	m := received{ID: q.Header.Get("Webhook-Id")}
	if err := json.Unmarshal(body, &m); err != nil {
		r.problem = err.Error()
	}
	if before, ok := r.seen[m.ID]; ok && before != string(body) {
		r.problem = "two bodies have the id " + m.ID
	}
	r.seen[m.ID] = string(body)
	r.count[m.Type]++
	what := none
	if r.fault != nil {
		what = r.fault(&m)
	}
	switch what {
	case reset, broken, busy, redirects, slow:
	default:
		if r.refuse != nil {
			if status, words := r.refuse(&m); status != 0 {
				http.Error(w, words, status)
				return
			}
		}
		if !r.take(&m) {
			http.Error(w, "some are missing", http.StatusConflict)
			return
		}
	}
	r.answer(w, q, what)
}

func (r *receiver) answer(w http.ResponseWriter, q *http.Request, what fault) {
	if r.name != "" {
		w.Header().Set("Offpath-Receiver", r.name)
	}
	if r.off {
		w.Header().Set("Offpath-Mode", "off")
	}
	raw := func(text string) {
		c, _, err := w.(http.Hijacker).Hijack()
		require.NoError(r.t, err)
		io.WriteString(c, text)
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	switch what {
	case reset, lost:
		raw("")
	case half:
		raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nha")
	case cut:
		raw("HTTP/1.1 200 OK\r\nConte")
	case broken:
		http.Error(w, "out of order", http.StatusInternalServerError)
	case busy:
		w.Header().Set("Retry-After", "0")
		http.Error(w, "busy", http.StatusTooManyRequests)
	case redirects:
		http.Redirect(w, q, "/elsewhere", http.StatusFound)
	case slow:
		r.mu.Unlock()
		<-q.Context().Done()
		r.mu.Lock()
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// take does what a message says; false: something is missing.
func (r *receiver) take(m *received) bool {
	if m.Data.Mode != "" && m.Data.Sequence > r.modeAt {
		r.mode, r.modeAt = m.Data.Mode, m.Data.Sequence
	}
	if m.Data.Release {
		r.off = false
	}
	if m.Type == "allow" {
		r.networks = m.Data.Networks
	}
	for _, e := range m.Data.Events {
		v, err := jsonl.ParseVerdict(e.Verdict)
		if err != nil {
			r.problem = err.Error()
			continue
		}
		if k := r.verdicts[v.ID]; k != nil && k.sequence >= e.Sequence || e.Sequence < r.since {
			continue
		}
		r.log = append(r.log, e.Event+" "+e.Reason+" "+v.ID)
		if e.Event == "ended" {
			v = nil
			r.verdicts[strings.Fields(r.log[len(r.log)-1])[2]] = &kept{e.Sequence, nil}
			continue
		}
		r.verdicts[v.ID] = &kept{e.Sequence, v}
	}
	if m.Type != "snapshot" {
		return true
	}
	active := 0
	r.since = max(r.since, m.Data.Since)
	for id, k := range r.verdicts {
		if k.sequence < m.Data.Since {
			delete(r.verdicts, id)
		} else if k.verdict != nil {
			active++
		}
	}
	return active >= m.Data.Count
}

// with changes or reads it between requests.
func (r *receiver) with(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// active are the verdicts in force, by id.
func (r *receiver) active() map[string]*detect.Verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	active := map[string]*detect.Verdict{}
	for id, k := range r.verdicts {
		if k.verdict != nil {
			active[id] = k.verdict
		}
	}
	return active
}

func (r *receiver) messages(kind string) (n int) {
	r.with(func() { n = r.count[kind] })
	return n
}

// overheard is a message as it comes.
func overheard(t testing.TB) (id, stamp, body, signature string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		text, _ := io.ReadAll(q.Body)
		id, stamp, body, signature = q.Header.Get("Webhook-Id"), q.Header.Get("Webhook-Timestamp"), string(text), q.Header.Get("Webhook-Signature")
	}))
	defer server.Close()
	_, err := targetOf(t, webhook.Options{URL: server.URL}).Identity(t.Context())
	require.NoError(t, err)
	return id, stamp, body, signature
}
