package specification

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const openAPI3 = `openapi: 3.0.3
info: {title: Bank, version: "2"}
servers:
  - url: https://{tenant}.bank.example:8443/api/{version}/
    variables: {tenant: {default: www}, version: {default: v2}}
  - url: https://backup.bank.example/api/v2
security: [{oauth: []}]
paths:
  x-note: ignored
  /accounts/{accountId}:
    parameters: [{name: accountId, in: path}]
    get:
      deprecated: true
      responses:
        "200": {description: ok, content: {"application/json; charset=utf-8": {}, text/*: {}}}
        4XX: {$ref: "#/components/responses/Error"}
        default: {description: other}
    put:
      security: [{key: []}, {}]
      requestBody: {$ref: "#/components/requestBodies/Account"}
      responses: {204: {description: done}}
  /health: {$ref: "#/components/pathItems/Health~1Check"}
components:
  pathItems:
    Health/Check:
      get: &check
        security: []
        servers: [{url: /}]
        responses: {200: {description: ok}}
      head: *check
  responses:
    Error: {description: error, content: {application/problem+json: {}}}
  requestBodies:
    Account: {content: {Application/JSON: {}}}
  securitySchemes:
    oauth: {type: oauth2, flows: {}}
    key: {type: apiKey, in: header, name: X-Key}
`

func TestWhatIsSpecifiedIsRead(t *testing.T) {
	s, err := Parse("a.yaml", []byte(openAPI3))
	require.NoError(t, err)
	assert.Equal(t, "Bank", s.Title)
	assert.Equal(t, "2", s.Version)
	hosts := []string{"www.bank.example", "backup.bank.example"}
	assert.Equal(t, []Operation{
		{Method: "GET", Path: "/api/v2/accounts/{accountId}", Hosts: hosts, Deprecated: true, Statuses: []string{"200", "4XX", "DEFAULT"},
			Media: []string{"application/json", "text/*", "application/problem+json"}, Carriers: []string{"bearer", "cookie"}, Line: 12, Number: 1},
		{Method: "PUT", Path: "/api/v2/accounts/{accountId}", Hosts: hosts, Statuses: []string{"204"},
			RequestMedia: []string{"application/json"}, Carriers: []string{"", "api_key", "bearer", "cookie"}, Line: 18, Number: 2},
		{Method: "GET", Path: "/health", Statuses: []string{"200"}, Carriers: []string{""}, Line: 26, Number: 3},
		{Method: "HEAD", Path: "/health", Statuses: []string{"200"}, Carriers: []string{""}, Line: 30, Number: 4},
	}, s.Operations)
}

func TestSwagger2IsRead(t *testing.T) {
	s, err := Parse("a.json", []byte("\ufeff{\n\t\"swagger\": \"2.0\", \"info\": {\"title\": \"Old\", \"version\": \"1\"},\n\t\"host\": \"API.bank.example:80\", \"basePath\": \"/v1/\",\n"+
		"\t\"produces\": [\"application/json\"], \"consumes\": [\"application/xml\"],\n\t\"securityDefinitions\": {\"b\": {\"type\": \"basic\"}}, \"security\": [{\"b\": []}],\n"+
		"\t\"paths\": {\n\t\t\"/users\": {\"post\": {\"consumes\": [\"text/csv\"], \"responses\": {\"200\": {\"schema\": {}}}},\n\t\t\t\"delete\": {\"deprecated\": true, \"security\": [{\"unknown\": []}], \"responses\": {\"204\": {}}}}}}"))
	require.NoError(t, err)
	assert.Equal(t, []Operation{
		{Method: "POST", Path: "/v1/users", Hosts: []string{"api.bank.example"}, Statuses: []string{"200"}, Media: []string{"application/json"}, RequestMedia: []string{"text/csv"}, Carriers: []string{"basic"}, Line: 7, Number: 1},
		{Method: "DELETE", Path: "/v1/users", Hosts: []string{"api.bank.example"}, Deprecated: true, Statuses: []string{"204"}, RequestMedia: []string{"application/xml"}, Line: 8, Number: 2},
	}, s.Operations)
}

func TestSeveralBasePathsAreSeveralPlacesOfOneOperation(t *testing.T) {
	s, err := Parse("a", []byte("openapi: 3.1.0\nservers: [{url: 'https://a/v1'}, {url: 'https://b/sandbox'}, {url: 'http://%zz'}]\npaths: {/x: {get: {}}}"))
	require.NoError(t, err)
	require.Len(t, s.Operations, 2)
	assert.Equal(t, "GET /v1/x", s.Operations[0].Name())
	assert.Equal(t, "GET /sandbox/x", s.Operations[1].Name())
	assert.Equal(t, s.Operations[0].Number, s.Operations[1].Number)
}

func TestWhatLiesInAnotherFileIsUnknown(t *testing.T) {
	s, err := Parse("a", []byte("openapi: 3.1.0\npaths: {/x: {get: {responses: {200: {$ref: 'other.yaml#/a'}, 400: {content: {a/b: {}}}}}}}"))
	require.NoError(t, err)
	assert.Equal(t, []string{"200", "400"}, s.Operations[0].Statuses)
	assert.Nil(t, s.Operations[0].Media)
	assert.Nil(t, s.Operations[0].Carriers)
}

func TestAMistakeIsNamedWithItsLineAndItsMend(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "f:1: it is empty"},
		{"no YAML", "openapi: 3.1.0\npaths: [", "f:2: it is no YAML: "},
		{"no JSON", "{\n\"openapi\": \"3.1.0\",\n\"paths\": }", "f:3: it is no JSON: invalid character '}'"},
		{"JSON that ends", "{\n\"openapi\": \"3.1.0\",\n", "f:3: it is no JSON: it ends in the middle"},
		{"more than one value", "{}\n{}", "f:2: it is no JSON: something follows the first value"},
		{"too deep", "{\"a\":" + strings.Repeat("[", 2000), "it is nested more than 1000 deep"},
		{"a list", "- a", "f:1: it is no OpenAPI description; that begins with openapi: 3.1.0"},
		{"something else", "a: b", "f:1: neither openapi nor swagger says the version; add openapi: 3.1.0"},
		{"of an old version", "{\"swagger\": \"1.2\"}", `f:1: Swagger "1.2" is not known; 2.0 is`},
		{"of a version to come", "openapi: 4.0.0", `f:1: OpenAPI "4.0.0" is not known; 3.0, 3.1 and 3.2 are`},
		{"no paths", "openapi: 3.1.0", "f:1: paths is missing"},
		{"a list of paths", "openapi: 3.1.0\npaths:\n- a", "f:3: paths is no object"},
		{"a path without its slash", "openapi: 3.1.0\npaths:\n  users: {}", `f:3: path "users" does not begin with /; write /users`},
		{"a path that is a text", "openapi: 3.1.0\npaths:\n  /users: a", `f:3: path "/users" is no object`},
		{"an operation that is a text", "openapi: 3.1.0\npaths:\n  /users:\n    get: a", `f:4: get of path "/users" is no object`},
		{"a reference that leads nowhere", "openapi: 3.1.0\npaths:\n  /users:\n    $ref: '#/none'", `f:4: $ref "#/none" leads nowhere`},
		{"a reference to itself", "openapi: 3.1.0\npaths:\n  /users:\n    $ref: '#/paths/~1users'", "references lead to one another"},
		{"a path in another file", "openapi: 3.1.0\npaths:\n  /users:\n    $ref: users.yaml", `f:3: path "/users" is described in another file; bundle the description into one`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("f", []byte(c.text))
			var mistake *Error
			require.ErrorAs(t, err, &mistake)
			assert.Contains(t, err.Error(), c.want)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
	_, err := Parse("f", make([]byte, MaxBytes+1))
	assert.ErrorContains(t, err, "more than 67108864 octets")
}

func TestTenThousandPathsAreReadInTime(t *testing.T) {
	var b strings.Builder
	b.WriteString("openapi: 3.1.0\npaths:\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, "  /v1/group%d/{id}/things%d:\n    get: {responses: {200: {$ref: '#/components/responses/r%d'}}}\n", i%100, i, i)
	}
	b.WriteString("components:\n  responses:\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, "    r%d: {content: {application/json: {}}}\n", i)
	}
	begun := time.Now()
	s, err := Parse("f", []byte(b.String()))
	require.NoError(t, err)
	assert.Len(t, s.Operations, 10_000)
	assert.Less(t, time.Since(begun), 10*time.Second)
}

func TestARealSpecificationIsRead(t *testing.T) {
	paths, err := filepath.Glob("../../../../shared/facts/datasets/crapi-spec/*")
	require.NoError(t, err)
	read := 0
	for _, path := range paths {
		if ext := filepath.Ext(path); ext != ".json" && ext != ".yaml" && ext != ".yml" {
			continue
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		s, err := Parse(path, text)
		require.NoError(t, err)
		t.Log(path, len(s.Operations))
		assert.Greater(t, len(s.Operations), 20)
		read++
	}
	if read == 0 {
		t.Skip("no specifications at ../shared/facts/datasets/crapi-spec")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(openAPI3))
	f.Add([]byte(`{"swagger":"2.0","basePath":"/v1","paths":{"/a":{"get":{"responses":{"200":{"schema":{}}}}}}}`))
	f.Add([]byte("openapi: 3.1.0\npaths: &a {/x: *a}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("f", text)
		var mistake *Error
		if err != nil {
			if !errors.As(err, &mistake) || mistake.Line < 1 || strings.ContainsAny(mistake.Text, "\n\r") {
				t.Fatalf("%#v", err)
			}
			return
		}
		for _, o := range s.Operations {
			if o.Method == "" || o.Number < 1 {
				t.Fatalf("%+v", o)
			}
		}
	})
}
