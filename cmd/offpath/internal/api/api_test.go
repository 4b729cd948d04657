package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// fakeNode is a node with one verdict; it remembers what it was told.
type fakeNode struct {
	mu      sync.Mutex
	orders  []string
	reasons []string
	since   time.Time
	sensor  bool // makes no verdicts
	history History
}

const verdictID = "00000001000000ff"

func (n *fakeNode) told() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.orders...)
}

func (n *fakeNode) tell(what string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sensor {
		return ErrNoMitigation
	}
	n.orders = append(n.orders, what)
	return nil
}

func (n *fakeNode) Ready() []string                      { return n.reasons }
func (n *fakeNode) Restored() time.Time                  { return n.since }
func (n *fakeNode) Findings(limit int) []json.RawMessage { return n.history.Latest(limit) }

func (n *fakeNode) Explain(id string) (Explanation, error) {
	if n.sensor {
		return Explanation{}, ErrNoMitigation
	}
	if id != verdictID {
		return Explanation{}, ErrUnknownID
	}
	v := n.Verdicts()[0]
	return Explanation{ID: id, Kind: "verdict", Verdict: v.Verdict, Findings: []json.RawMessage{}, Live: true, Active: &v}, nil
}

func (n *fakeNode) SiteMap(format string) ([]byte, error) {
	if n.sensor {
		return nil, ErrNoSiteMap
	}
	if format == "yaml" {
		return []byte("openapi: 3.1.0\n"), nil
	}
	return []byte(`{"openapi": "3.1.0"}`), nil
}

func (n *fakeNode) Comparison() ([]byte, error) {
	if n.sensor {
		return nil, ErrBusy
	}
	return []byte(`{"shadow": []}`), nil
}

func (n *fakeNode) Verdicts() []Verdict {
	refused := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return []Verdict{{
		Verdict:     json.RawMessage(`{"@timestamp":"2026-01-02T03:04:05Z","event":{"id":"` + verdictID + `"},"offpath":{},"message":"m"}`),
		Enforcement: &Enforcement{State: "refused", Refused: 3, FirstRefused: &refused},
		Targets:     []TargetVerdict{{Target: "lb1", State: "in_force", Refused: 3}},
	}}
}

func (n *fakeNode) Targets() []Target {
	return []Target{{Name: "lb1", Type: "haproxy", Connected: true}}
}

func (n *fakeNode) Audit() []AuditEntry { return nil }

func (n *fakeNode) Decide(o Order, who string) (Verdict, error) {
	if o.Action != "block" {
		return Verdict{}, &OrderError{fmt.Sprintf("action %q is unknown", o.Action)}
	}
	return n.Verdicts()[0], n.tell("decide " + o.Subject["client.ip"] + " by " + who)
}

func (n *fakeNode) Lift(id, _ string) error {
	if id != verdictID {
		return ErrUnknownVerdict
	}
	return n.tell("lift " + id)
}
func (n *fakeNode) Approvals() []Approval {
	return []Approval{{
		Verdict: n.Verdicts()[0].Verdict,
		Since:   time.Unix(1, 0).UTC(), Rail: "harm", Reason: "it would hit many",
	}}
}

func (n *fakeNode) Approve(id, _ string) error {
	if id != verdictID {
		return fmt.Errorf("%w: %q", ErrNotWaiting, id)
	}
	return n.tell("approve " + id)
}

func (n *fakeNode) Off(string) error { return n.tell("off") }
func (n *fakeNode) On(string) error  { return n.tell("on") }

var noMetrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "# none\n") })

// ask sends one request to a handler.
func ask(h http.Handler, method, target, body string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == "Host" {
			r.Host = fields[i+1]
		} else {
			r.Header.Set(fields[i], fields[i+1])
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// document is the part of the OpenAPI document that the tests look at.
type document struct {
	OpenAPI string `yaml:"openapi"`
	Paths   map[string]map[string]struct {
		OperationID string         `yaml:"operationId"`
		Responses   map[string]any `yaml:"responses"`
	} `yaml:"paths"`
}

func TestEveryDocumentedEndpointAnswersAsDocumented(t *testing.T) {
	var doc document
	require.NoError(t, yaml.Unmarshal(openAPI, &doc))
	assert.Equal(t, "3.1.0", doc.OpenAPI)
	h := Handler(&fakeNode{}, noMetrics)
	bodies := map[string]string{"decide": `{"action":"block","subject":{"client.ip":"192.0.2.7"},"ttl":"10m","reason":"r"}`}
	operations := 0
	for path, methods := range doc.Paths {
		for method, operation := range methods {
			operations++
			t.Run(operation.OperationID, func(t *testing.T) {
				w := ask(h, strings.ToUpper(method), strings.ReplaceAll(path, "{id}", verdictID), bodies[operation.OperationID])
				assert.Less(t, w.Code, 300, w.Body)
				assert.Contains(t, operation.Responses, fmt.Sprint(w.Code))
				response, ok := operation.Responses[fmt.Sprint(w.Code)].(map[string]any)
				require.True(t, ok)
				mediaType, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
				assert.Contains(t, response["content"], mediaType)
			})
		}
	}
	assert.Equal(t, 17, operations)
}

func TestEveryReferenceInTheDocumentLeadsSomewhere(t *testing.T) {
	var root map[string]any
	require.NoError(t, yaml.Unmarshal(openAPI, &root))
	references := 0
	var walk func(any)
	walk = func(node any) {
		switch n := node.(type) {
		case map[string]any:
			if ref, ok := n["$ref"].(string); ok {
				references++
				at := any(root)
				for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
					m, ok := at.(map[string]any)
					require.True(t, ok, ref)
					require.Contains(t, m, part, ref)
					at = m[part]
				}
			}
			for _, child := range n {
				walk(child)
			}
		case []any:
			for _, child := range n {
				walk(child)
			}
		}
	}
	walk(root)
	assert.Greater(t, references, 20)
}

func TestErrorsAreProblemDocuments(t *testing.T) {
	for _, test := range []struct {
		name, method, target, body string
		status                     int
		detail                     string
	}{
		{"an endpoint that does not exist", "GET", "/api/v1/nothing", "", 404, "see /api/v1/openapi.yaml for what there is"},
		{"a method that is not allowed", "DELETE", "/api/v1/verdicts", "", 405, "see /api/v1/openapi.yaml for what there is"},
		{"a limit that is no number", "GET", "/api/v1/findings?limit=many", "", 400, `limit "many" is not a number from 1 to 4096`},
		{"a limit that is too large", "GET", "/api/v1/findings?limit=5000", "", 400, `limit "5000" is not a number from 1 to 4096`},
		{"an order that is no JSON", "POST", "/api/v1/verdicts", "block", 400, "the body is not the JSON object expected: invalid character 'b' looking for beginning of value"},
		{"an order with an unknown member", "POST", "/api/v1/verdicts", `{"actoin":"block"}`, 400, `the body is not the JSON object expected: json: unknown field "actoin"`},
		{"two orders at once", "POST", "/api/v1/verdicts", `{"action":"block"} {}`, 400, "the body holds more than one JSON object"},
		{"an order that makes no sense", "POST", "/api/v1/verdicts", `{"action":"explode"}`, 422, `action "explode" is unknown`},
		{"an id that is none", "GET", "/api/v1/explain/x", "", 400, `verdict id "x" is not 16 hex digits`},
		{"an id that is not known", "GET", "/api/v1/explain/0000000100000002", "", 404, "no finding or verdict that is kept has this id"},
		{"an approval of a verdict that does not wait", "POST", "/api/v1/approvals/0000000100000002/approve", "", 404, `no verdict of this id waits for approval: "0000000100000002"`},
		{"a lift of an unknown verdict", "POST", "/api/v1/verdicts/0000000100000002/lift", "", 404, "no active verdict has this id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := ask(Handler(&fakeNode{}, noMetrics), test.method, test.target, test.body)
			assert.Equal(t, test.status, w.Code)
			assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
			var problem Problem
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &problem))
			assert.Equal(t, Problem{http.StatusText(test.status), test.status, test.detail}, problem)
		})
	}
}

func TestABodyThatIsTooLongIsRefused(t *testing.T) {
	w := ask(Handler(&fakeNode{}, noMetrics), "POST", "/api/v1/verdicts", `{"reason":"`+strings.Repeat("x", maxBody)+`"}`)
	assert.Equal(t, 400, w.Code)
	assert.Contains(t, w.Body.String(), "request body too large")
}

func TestASensorRefusesOrders(t *testing.T) {
	w := ask(Handler(&fakeNode{sensor: true}, noMetrics), "POST", "/api/v1/off", "")
	assert.Equal(t, 409, w.Code)
	assert.Contains(t, w.Body.String(), ErrNoMitigation.Error())
}

func TestTheSiteMapComesInTwoFormatsOrNotAtAll(t *testing.T) {
	for _, c := range []struct {
		name, target string
		sensor       bool
		status       int
		want         string
	}{
		{"as JSON", "/api/v1/sitemap", false, 200, `"openapi": "3.1.0"`},
		{"as YAML", "/api/v1/sitemap?format=yaml", false, 200, "openapi: 3.1.0"},
		{"in another format", "/api/v1/sitemap?format=xml", false, 400, `format \"xml\" is neither json nor yaml`},
		{"where none is kept", "/api/v1/sitemap", true, 409, "keeps no site map"},
		{"while detection does not answer", "/api/v1/sitemap/comparison", true, 503, "ask again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ask(Handler(&fakeNode{sensor: c.sensor}, noMetrics), "GET", c.target, "")
			assert.Equal(t, c.status, w.Code)
			assert.Contains(t, w.Body.String(), c.want)
		})
	}
}

func TestReadinessGivesItsReasons(t *testing.T) {
	n := &fakeNode{}
	assert.Equal(t, 200, ask(Handler(n, noMetrics), "GET", "/readyz", "").Code)
	n.reasons = []string{"target lb1 is unreachable: no such file or directory"}
	w := ask(Handler(n, noMetrics), "GET", "/readyz", "")
	assert.Equal(t, 503, w.Code)
	assert.JSONEq(t, `{"status":"not ready","reasons":["target lb1 is unreachable: no such file or directory"]}`, w.Body.String())
	assert.Equal(t, 200, ask(Handler(n, noMetrics), "GET", "/healthz", "").Code, "it lives all the same")
}

func TestReadinessSaysWhatWasRestored(t *testing.T) {
	n := &fakeNode{}
	assert.JSONEq(t, `{"status":"ready"}`, ask(Handler(n, noMetrics), "GET", "/readyz", "").Body.String())
	n.since = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	assert.JSONEq(t, `{"status":"ready","restored":"2026-01-02T03:04:05.000000006Z"}`, ask(Handler(n, noMetrics), "GET", "/readyz", "").Body.String())
}

func TestTheTCPAddressIsGuarded(t *testing.T) {
	const token = "correct horse battery staple"
	for _, test := range []struct {
		name   string
		token  string
		method string
		target string
		fields []string
		status int
	}{
		{"without a token reading is free", "", "GET", "/api/v1/verdicts", nil, 200},
		{"without a token changes are refused", "", "POST", "/api/v1/off", nil, 403},
		{"without a token another name is refused", "", "GET", "/api/v1/verdicts", []string{"Host", "attacker.example:9321"}, 421},
		{"an IPv6 address is no name", "", "GET", "/api/v1/verdicts", []string{"Host", "[::1]:9321"}, 200},
		{"with a token reading needs it", token, "GET", "/api/v1/verdicts", nil, 401},
		{"with a token metrics need it", token, "GET", "/metrics", nil, 401},
		{"with a token health is free", token, "GET", "/healthz", nil, 200},
		{"a wrong token is refused", token, "GET", "/api/v1/verdicts", []string{"Authorization", "Bearer wrong"}, 401},
		{"another scheme is refused", token, "GET", "/api/v1/verdicts", []string{"Authorization", "Basic " + token}, 401},
		{"the right token may read", token, "GET", "/api/v1/verdicts", []string{"Authorization", "Bearer " + token}, 200},
		{"the right token may change", token, "POST", "/api/v1/off", []string{"Authorization", "Bearer " + token}, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			var secret []byte
			if test.token != "" {
				secret = []byte(test.token)
			}
			h := guard(secret, true, Handler(&fakeNode{}, noMetrics))
			w := ask(h, test.method, test.target, "", append([]string{"Host", "127.0.0.1:9321"}, test.fields...)...)
			assert.Equal(t, test.status, w.Code, w.Body)
		})
	}
}

// start serves on a fresh socket.
func start(t *testing.T, n Node) (socket string, server *Server) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "admin.sock")
	server, err := Start(Config{Node: n, Metrics: noMetrics, Socket: socket, Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return socket, server
}

func TestOrdersGoOverTheSocket(t *testing.T) {
	n := &fakeNode{}
	socket, server := start(t, n)
	info, err := os.Stat(socket)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	c := NewClient(socket)
	ctx := context.Background()
	require.NoError(t, c.Off(ctx))
	require.NoError(t, c.On(ctx))
	require.NoError(t, c.Lift(ctx, verdictID))
	assert.Equal(t, []string{"off", "on", "lift " + verdictID}, n.told())
	assert.EqualError(t, c.Lift(ctx, "0000000100000002"), "no active verdict has this id")

	answer, err := http.Get("http://" + server.Address().String() + "/healthz")
	require.NoError(t, err)
	defer answer.Body.Close()
	assert.Equal(t, 200, answer.StatusCode)
}

func TestTheClientSaysWhyNobodyAnswers(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "none.sock")
	assert.EqualError(t, NewClient(absent).Off(context.Background()),
		"no offpath runs here: admin socket "+absent+" does not exist (admin.socket in the configuration says where it is)")

	stale := filepath.Join(t.TempDir(), "stale.sock")
	leaveStale(t, stale)
	assert.EqualError(t, NewClient(stale).Off(context.Background()), "no offpath runs here: nobody listens on admin socket "+stale)
}

// leaveStale leaves a socket behind as a process that died does.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	leaveStale(t, path)
	l, err := listenUnix(path)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	assert.NoFileExists(t, path)
}

func TestASocketThatIsInUseIsLeftAlone(t *testing.T) {
	t.Run("by another offpath", func(t *testing.T) {
		socket, _ := start(t, &fakeNode{})
		_, err := Start(Config{Node: &fakeNode{}, Metrics: noMetrics, Socket: socket})
		assert.EqualError(t, err, "admin socket "+socket+" belongs to another offpath that is running")
		require.NoError(t, NewClient(socket).Off(context.Background()), "the first one still answers")
	})
	t.Run("by another program", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "admin.sock")
		l, err := net.Listen("unix", path)
		require.NoError(t, err)
		defer l.Close()
		_, err = listenUnix(path)
		assert.EqualError(t, err, "admin socket "+path+": another program listens there")
	})
	t.Run("as a file that is no socket", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "admin.sock")
		require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
		_, err := listenUnix(path)
		assert.EqualError(t, err, "admin socket "+path+": something else than a socket stands there; remove it or set another admin.socket")
		assert.FileExists(t, path)
	})
}

func TestHistoryKeepsTheLatestOfEachAndForgetsTheOldest(t *testing.T) {
	var h History
	assert.Empty(t, h.Latest(10))
	for i := range historySize + 2 {
		h.Add(fmt.Sprint(i), fmt.Appendf(nil, "%d", i))
	}
	h.Add(fmt.Sprint(historySize), []byte(`"renewed"`))
	latest := h.Latest(3)
	assert.Equal(t, []string{fmt.Sprint(historySize + 1), `"renewed"`, fmt.Sprint(historySize - 1)},
		[]string{string(latest[0]), string(latest[1]), string(latest[2])})
	all := h.Latest(2 * historySize)
	assert.Len(t, all, historySize)
	assert.Equal(t, "2", string(all[historySize-1]), "0 and 1 are forgotten")
	assert.Len(t, h.lines, historySize)
}

func TestHistoryCopiesWhatItIsGiven(t *testing.T) {
	var h History
	line := []byte(`{"a":1}`)
	h.Add("x", line)
	copy(line, bytes.Repeat([]byte("z"), len(line)))
	assert.JSONEq(t, `{"a":1}`, string(h.Latest(1)[0]))
}
