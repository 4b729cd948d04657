package sitemap

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"offpath/detect/sitemap/specification"
	"offpath/reassembly"
)

// spec reads a description of paths.
func spec(t *testing.T, text string) *specification.Spec {
	t.Helper()
	s, err := specification.Parse("spec", []byte(text))
	require.NoError(t, err)
	return s
}

// described is a description of paths that answer 200, each METHOD /path.
func described(t *testing.T, head string, operations ...string) *specification.Spec {
	t.Helper()
	paths := map[string]map[string]any{}
	for _, o := range operations {
		method, path, _ := strings.Cut(o, " ")
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		paths[path][strings.ToLower(method)] = map[string]any{"responses": map[string]any{"200": map[string]any{}}}
	}
	text, err := yaml.Marshal(map[string]any{"paths": paths})
	require.NoError(t, err)
	return spec(t, "openapi: 3.1.0\n"+head+"\n"+string(text))
}

// saw is a map of endpoints that were answered with 200, unless changed.
func saw(change func(*reassembly.Transaction), names ...string) *Map {
	m := New(1 << 16)
	for i, name := range names {
		tx := request(i, name)
		if change != nil {
			change(tx)
		}
		m.Observe(tx)
	}
	return m
}

// lines are differences as text.
func lines(c *Comparison) (list []string) {
	for _, d := range c.Differences {
		list = append(list, strings.TrimSpace(strings.Join([]string{d.Kind, d.Endpoint, d.Operation}, " | ")))
	}
	return list
}

func TestEndpointsAreFoundInASpecification(t *testing.T) {
	for _, c := range []struct {
		name      string
		head      string
		specified []string
		seen      []string
		want      []string
	}{
		{"as it stands", "", []string{"GET /users"}, []string{"GET a/users"}, nil},
		{"parameters by other names", "", []string{"GET /users/{user-id}/x"}, []string{"GET a/users/{userId}/x"}, nil},
		{"a value that no template was learned for", "", []string{"GET /users/{id}"}, []string{"GET a/users/42"}, nil},
		{"a slash at the end, on either side", "", []string{"GET /users", "GET /things/"}, []string{"GET a/users/", "GET a/things"}, nil},
		{"percent-encoding", "", []string{"GET /a b/~{id}"}, []string{"GET a/a%20b/%7Ejoe"}, nil},
		{"a base path and a host", "servers: [{url: 'https://A.example/v1'}]", []string{"GET /users"}, []string{"GET a.example/v1/users"}, nil},
		{"a base path that is missing", "servers: [{url: 'https://a.example/api'}]", []string{"GET /users"}, []string{"GET a.example/users"},
			[]string{"orphaned |  | GET /api/users", "shadow | GET a.example/users |"}},
		{"a host that is not the specification's", "servers: [{url: 'https://a.example'}]", []string{"GET /users"}, []string{"GET a.example/users", "GET b.example/else"}, nil},
		{"no host that is the specification's", "servers: [{url: 'https://prod.example'}]", []string{"GET /users"}, []string{"GET staging/users", "GET staging/else"},
			[]string{"shadow | GET staging/else |"}},
		{"one base path of two", "servers: [{url: 'https://a/v1'}, {url: 'https://b/sandbox'}]", []string{"GET /users"}, []string{"GET a/v1/users"}, nil},
		{"overlapping templates, the plainer one", "", []string{"GET /users/{id}", "GET /users/me"}, []string{"GET a/users/me", "GET a/users/{userId}"}, nil},
		{"overlapping templates, the one that has the method", "", []string{"GET /users/me", "DELETE /users/{id}"}, []string{"GET a/users/me", "DELETE a/users/me"}, nil},
		{"a template that has swallowed a literal", "", []string{"GET /users/{id}", "GET /users/me"}, []string{"GET a/users/{userId}"}, []string{"orphaned |  | GET /users/me"}},
		{"a part of a segment", "", []string{"GET /files/{name}.{ext}", "GET /jobs/{id}:cancel"}, []string{"GET a/files/{fileId}.pdf", "GET a/files/x.y.z", "GET a/jobs/17:cancel"}, nil},
		{"a part that is empty", "", []string{"GET /jobs/{id}:cancel"}, []string{"GET a/jobs/:cancel"}, []string{"orphaned |  | GET /jobs/{id}:cancel", "shadow | GET a/jobs/:cancel |"}},
		{"operations of one path", "", []string{"POST /graphql"}, []string{"POST a/graphql#Pay", "POST a/graphql#Login"}, nil},
		{"a shadow", "", []string{"GET /users"}, []string{"GET a/users", "GET a/users/{userId}/secrets"}, []string{"shadow | GET a/users/{userId}/secrets |"}},
		{"a method", "", []string{"GET /users"}, []string{"GET a/users", "DELETE a/users"}, []string{"drifted | DELETE a/users | GET /users"}},
		{"methods that come by themselves", "", []string{"GET /users"}, []string{"GET a/users", "HEAD a/users", "OPTIONS a/users"}, nil},
		{"HEAD of what has no GET", "", []string{"POST /users"}, []string{"POST a/users", "HEAD a/users"}, []string{"drifted | HEAD a/users | POST /users"}},
		{"an earlier version", "", []string{"GET /api/v3/users/{id}"}, []string{"GET a/api/v3/users/{userId}", "GET a/api/v2/users/{userId}"}, []string{"zombie | GET a/api/v2/users/{userId} |"}},
		{"an earlier version by a base path", "servers: [{url: /v2.10}]", []string{"GET /users"}, []string{"GET a/v2.10/users", "GET a/v2.9/users"}, []string{"zombie | GET a/v2.9/users |"}},
		{"a version to come", "", []string{"GET /v1/users"}, []string{"GET a/v1/users", "GET a/v2/users"}, []string{"shadow | GET a/v2/users |"}},
		{"an orphan", "", []string{"GET /users", "GET /gone", "OPTIONS /users"}, []string{"GET a/users"}, []string{"orphaned |  | GET /gone"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := saw(nil, c.seen...).Compare(described(t, c.head, c.specified...))
			assert.Equal(t, c.want, lines(got))
			for _, d := range got.Differences {
				assert.NotEmpty(t, d.Why)
				assert.Equal(t, d.Operation == "", d.Line == 0, "where it stands in the file")
				assert.Equal(t, d.Endpoint == "", d.Requests == 0)
			}
		})
	}
}

func TestHowAnEndpointIsUsedIsCompared(t *testing.T) {
	const schemes = `
components: {securitySchemes: {bearer: {type: http, scheme: bearer}, key: {type: apiKey, in: header, name: Authorization}}}
paths: {/x: {post: {`
	operation := func(text string) string { return "openapi: 3.1.0" + schemes + text + "}}}" }
	for _, c := range []struct {
		name string
		spec string
		seen func(*reassembly.Transaction)
		want []string
	}{
		{"as specified", operation("deprecated: false, security: [{bearer: []}], requestBody: {content: {application/json: {}}}, responses: {200: {content: {application/*: {}}}}"), nil, nil},
		{"deprecated", operation("deprecated: true"), nil, []string{"zombie", "it is specified as deprecated"}},
		{"a status", operation("responses: {200: {}}"), func(tx *reassembly.Transaction) { tx.Response.Status = 404 }, []string{"drifted", "not specified: status 404 (1 seen)"}},
		{"a status within a range", operation("responses: {200: {}, 4xx: {}}"), func(tx *reassembly.Transaction) { tx.Response.Status = 404 }, nil},
		{"a status by default", operation("responses: {200: {}, default: {}}"), func(tx *reassembly.Transaction) { tx.Response.Status = 500 }, nil},
		{"statuses that are not specified at all", operation("operationId: x"), nil, nil},
		{"a media type of responses", operation("responses: {200: {content: {application/json: {}}}}"), func(tx *reassembly.Transaction) { tx.Response.MIMEType = "text/html" }, []string{"drifted", "not specified: response media type text/html (1 seen)"}},
		{"a media type of requests", operation("requestBody: {content: {application/json: {}}}"), func(tx *reassembly.Transaction) { tx.Request.MIMEType = "text/csv" }, []string{"drifted", "not specified: request media type text/csv (1 seen)"}},
		{"none where one should be", operation("security: [{bearer: []}]"), func(tx *reassembly.Transaction) { tx.Auth.Carrier = "" }, []string{"drifted", "not specified: authentication none (1 answered with success)"}},
		{"none, and refused for it", operation("security: [{bearer: []}]"), func(tx *reassembly.Transaction) { tx.Auth.Carrier, tx.Response.Status = "", 401 }, nil},
		{"another", operation("security: [{bearer: []}]"), func(tx *reassembly.Transaction) { tx.Auth.Carrier = "basic" }, []string{"drifted", "not specified: authentication basic (1 answered with success)"}},
		{"any in the field that is specified", operation("security: [{key: []}]"), func(tx *reassembly.Transaction) { tx.Auth.Carrier = "basic" }, nil},
		{"one where none is needed", operation("security: []"), nil, nil},
		{"a password in the body", operation("security: [{bearer: []}]"), func(tx *reassembly.Transaction) { tx.Auth.Carrier = "json" }, nil},
		{"a scheme that is not known", operation("security: [{other: []}]"), func(tx *reassembly.Transaction) { tx.Auth.Carrier = "" }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := saw(nil, "POST a/x")
			if c.seen != nil {
				m = New(0)
				for range 2 { // what is answered with 404 alone is not there
					m.Observe(request(0, "POST a/x"))
				}
				e := m.get("POST a/x")
				e.Statuses, e.Media, e.RequestMedia, e.Granted = nil, nil, nil, nil
				tx := request(0, "POST a/x")
				c.seen(tx)
				m.Observe(tx)
			}
			got := m.Compare(spec(t, c.spec))
			var list []string
			for _, d := range got.Differences {
				list = append(append(list, d.Kind), d.Why...)
			}
			assert.Equal(t, c.want, list)
			assert.Equal(t, 1-len(got.Differences), got.Matching)
		})
	}
}

func TestWhatIsNoDifferenceIsCounted(t *testing.T) {
	m := saw(nil, "GET a.example/users", "GET b.example/else")
	for i, name := range []string{"GET a.example/.env", "PUT a.example/users"} {
		tx := request(i, name)
		tx.Response.Status = 403
		m.Observe(tx)
	}
	c := m.Compare(described(t, "servers: [{url: 'https://a.example'}]", "GET /users"))
	assert.Empty(t, c.Differences)
	assert.Equal(t, []int{1, 1, 1, 1, 2}, []int{c.Specified, c.Seen, c.Matching, c.Elsewhere, c.Refused})
	assert.False(t, c.AnyHost)
	assert.True(t, m.Compare(described(t, "servers: [{url: 'https://c.example'}]", "GET /users")).AnyHost)
}

func TestTheComparisonIsInTheDocument(t *testing.T) {
	m := hostile()
	c := m.Compare(described(t, "info: {title: T, version: '7'}", "GET /", "GET /gone", "POST /graphql", "GET /jobs/{}"))
	for _, kind := range []string{Shadow, Drifted, Orphaned} {
		assert.NotZero(t, c.Of(kind), kind)
	}
	text, err := m.YAML(c)
	require.NoError(t, err)
	assert.Empty(t, problems(t, text))
	again, err := hostile().YAML(c)
	require.NoError(t, err)
	assert.Equal(t, string(text), string(again))
	var doc struct {
		Comparison struct {
			Version  string
			Orphaned []struct {
				Operation string
				Line      int
				Why       []string
			}
		} `yaml:"x-offpath-comparison"`
	}
	require.NoError(t, yaml.Unmarshal(text, &doc))
	assert.Equal(t, "7", doc.Comparison.Version)
	assert.Equal(t, "GET /gone", doc.Comparison.Orphaned[0].Operation)
	asJSON, err := m.JSON(c)
	require.NoError(t, err)
	assert.True(t, json.Valid(asJSON))
}

func TestTenThousandPathsAreComparedInTime(t *testing.T) {
	var operations, names []string
	for i := range 10_000 {
		operations = append(operations, fmt.Sprintf("GET /v1/group%d/{id}/things%d/{%d}", i%100, i, i))
		names = append(names, fmt.Sprintf("GET a/v1/group%d/{groupId}/things%d/{thingId}", i%100, i), fmt.Sprintf("GET a/v0/group%d/{groupId}/things%d/{thingId}", i%100, i))
	}
	s := described(t, "", operations...)
	m := saw(nil, names...)
	begun := time.Now()
	c := m.Compare(s)
	assert.Less(t, time.Since(begun), 10*time.Second)
	assert.Equal(t, 10_000, c.Matching)
	assert.Equal(t, 10_000, c.Of(Zombie))
	assert.Len(t, c.Differences, 10_000)
}

// TestTheTemplatesOfRealAPIsAreFound lets each API be seen as it is specified,
// with parameters by other names and with values.
func TestTheTemplatesOfRealAPIsAreFound(t *testing.T) {
	f, err := os.Open("../../../shared/facts/datasets/openapi-templates/templates.jsonl")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no templates at ../shared/facts/datasets/openapi-templates")
	}
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	apis, operations, missed, shadows := 0, 0, 0, 0
	for lines.Scan() {
		var api struct {
			API       string
			Endpoints [][]any
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &api))
		if apis++; apis%10 != 0 {
			continue
		}
		var specified, seen []string
		for _, e := range api.Endpoints {
			method, path := e[0].(string), e[1].(string)
			if strings.ContainsAny(path, "#?") || strings.Count(path, "{") != strings.Count(path, "}") {
				continue // operations told apart by what is no path
			}
			specified = append(specified, method+" "+path)
			i := 0
			for strings.Contains(path, "{") {
				open, end := strings.IndexByte(path, '{'), strings.IndexByte(path, '}')
				if end < open {
					break
				}
				i++
				path = path[:open] + fmt.Sprintf("\x01p%d\x02", i) + path[end+1:]
			}
			if len(seen)%2 == 0 {
				path = strings.NewReplacer("\x01", "{", "\x02", "}").Replace(path)
			} else {
				path = strings.NewReplacer("\x01", "value-", "\x02", "").Replace(path)
			}
			seen = append(seen, method+" api.example"+path)
		}
		if len(specified) == 0 {
			continue
		}
		c := saw(nil, seen...).Compare(described(t, "", specified...))
		operations += len(specified)
		missed += c.Of(Orphaned)
		shadows += c.Of(Shadow)
	}
	require.NoError(t, lines.Err())
	t.Logf("%d APIs, %d operations: %d orphaned, %d shadows", apis/10, operations, missed, shadows)
	assert.Greater(t, operations, 5000)
	assert.LessOrEqual(t, float64(missed+shadows), 0.01*float64(operations))
}
