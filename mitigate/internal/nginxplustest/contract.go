package nginxplustest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// Contract is an API each of whose requests and answers is held against the vendor's
// description of it.
type Contract struct {
	API http.Handler

	validator validator.Validator
	mu        sync.Mutex
	breaches  []string
	judged    int
}

// NewContract reads the description, a file of Swagger 2.0; the test is skipped where there
// is none.
func NewContract(t testing.TB, description string, api http.Handler) *Contract {
	t.Helper()
	text, err := os.ReadFile(description)
	if os.IsNotExist(err) {
		t.Skip("the vendor's description of the API is not there: ", description)
	}
	require.NoError(t, err)
	text, err = openAPI(text)
	require.NoError(t, err)
	document, err := libopenapi.NewDocument(text)
	require.NoError(t, err)
	v, problems := validator.NewValidator(document)
	require.Empty(t, problems)
	return &Contract{API: api, validator: v}
}

// Breaches are what does not fit the description, and how many exchanges were judged.
func (c *Contract) Breaches() ([]string, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.breaches, c.judged
}

// ServeHTTP implements [http.Handler].
func (c *Contract) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	recorder := httptest.NewRecorder()
	c.API.ServeHTTP(recorder, r)
	answer := recorder.Body.Bytes()
	for name, values := range recorder.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(recorder.Code)
	w.Write(answer)

	request, err := http.NewRequest(r.Method, "http://nginx"+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	request.Header = r.Header
	_, problems := c.validator.ValidateHttpRequestResponse(request, recorder.Result())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.judged++
	for _, p := range problems {
		c.breaches = append(c.breaches, r.Method+" "+r.URL.RequestURI()+": "+p.Message+": "+p.Reason)
	}
}

// openAPI makes OpenAPI 3.0 of Swagger 2.0, as far as the vendor's description has it.
func openAPI(text []byte) ([]byte, error) {
	var document map[string]any
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	document = named(document).(map[string]any)
	for _, item := range document["paths"].(map[string]any) {
		item := item.(map[string]any)
		for key, operation := range item {
			if key == "parameters" {
				modernise(item)
				continue
			}
			operation := operation.(map[string]any)
			modernise(operation)
			for _, response := range operation["responses"].(map[string]any) {
				response := response.(map[string]any)
				if schema, ok := response["schema"]; ok {
					response["content"] = content(schema)
					delete(response, "schema")
				}
			}
			delete(operation, "produces")
		}
	}
	out, err := json.Marshal(map[string]any{
		"openapi":    "3.0.3",
		"info":       document["info"],
		"servers":    []any{map[string]any{"url": document["basePath"]}},
		"paths":      document["paths"],
		"components": map[string]any{"schemas": document["definitions"]},
	})
	return []byte(strings.ReplaceAll(string(out), "#/definitions/", "#/components/schemas/")), err
}

// named has strings alone for keys: a status is a number in YAML where it has no quotes.
func named(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = named(v[key])
		}
	case map[any]any:
		m := make(map[string]any, len(v))
		for key, item := range v {
			m[fmt.Sprint(key)] = named(item)
		}
		return m
	case []any:
		for i := range v {
			v[i] = named(v[i])
		}
	}
	return v
}

func content(schema any) map[string]any {
	return map[string]any{"application/json": map[string]any{"schema": schema}}
}

// modernise brings the parameters of a path or operation to their new form.
func modernise(owner map[string]any) {
	list, _ := owner["parameters"].([]any)
	var parameters []any
	for _, p := range list {
		p := p.(map[string]any)
		if p["in"] == "body" {
			owner["requestBody"] = map[string]any{"required": p["required"], "content": content(p["schema"])}
			continue
		}
		schema := map[string]any{}
		for _, key := range []string{"type", "format", "enum", "items"} {
			if v, ok := p[key]; ok {
				schema[key] = v
				delete(p, key)
			}
		}
		p["schema"] = schema
		parameters = append(parameters, p)
	}
	delete(owner, "parameters")
	if len(parameters) > 0 {
		owner["parameters"] = parameters
	}
}
