package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheEndpointsSeenAreWrittenAsOpenAPI(t *testing.T) {
	capture := attack(t).save("attack.pcapng")
	folder := t.TempDir()
	write := func(name, workers string) string {
		path := filepath.Join(folder, name)
		r := run(t, "replay", "--sitemap", path, "--workers", workers, capture)
		assert.Equal(t, 0, r.status, r.stderr)
		assert.Empty(t, r.stdout, "no report beside an output")
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(text)
	}
	text := write("one.json", "1")
	assert.Equal(t, text, write("two.json", "2"), "the map does not depend on the number of workers")
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]json.RawMessage
	}
	require.NoError(t, json.Unmarshal([]byte(text), &doc))
	assert.Equal(t, "3.1.0", doc.OpenAPI)
	require.Contains(t, doc.Paths, "/api/login")
	assert.Contains(t, string(doc.Paths["/api/login"]["post"]), `"login"`, "with its role")
	assert.True(t, strings.Contains(write("map.yaml", "1"), "openapi: 3.1.0"))
}

func TestTheFormatOfTheMapIsItsExtension(t *testing.T) {
	r := run(t, "replay", "--sitemap", filepath.Join(t.TempDir(), "map.txt"), "x.pcap")
	assert.Equal(t, 2, r.status)
	assert.Contains(t, r.stderr, "ends neither in .yaml nor in .json")
}

func TestTheEndpointsSeenAreComparedWithASpecification(t *testing.T) {
	capture := attack(t).save("attack.pcapng")
	spec := save(t, "spec.yaml", []byte(`openapi: 3.1.0
info: {title: Bank, version: "1"}
servers: [{url: https://bank.example/api}]
paths:
  /login: {post: {responses: {200: {description: ok}}}}
  /gone: {get: {responses: {200: {description: ok}}}}
`))
	r := run(t, "replay", "--spec", spec, capture)
	assert.Equal(t, 0, r.status, r.stderr)
	for _, want := range []string{
		"Endpoints  2 compared with 2 operations specified, 0 match",
		"shadow     1 (seen, not specified)\n    GET bank.example/api/accounts: it is not specified (60 requests, last ",
		"drifted    1 (used as not specified)\n    POST bank.example/api/login: not specified: status 401 (86 seen)",
		"orphaned   1 (specified, not seen)\n    GET /api/gone: it was not seen",
	} {
		assert.Contains(t, r.stdout, want)
	}
	path := filepath.Join(t.TempDir(), "map.json")
	r = run(t, "replay", "--spec", spec, "--sitemap", path, capture)
	assert.Equal(t, 0, r.status, r.stderr)
	assert.Empty(t, r.stdout)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var doc struct {
		Comparison struct {
			Shadow, Zombie, Drifted, Orphaned []struct{ Endpoint, Operation string }
		} `json:"x-offpath-comparison"`
	}
	require.NoError(t, json.Unmarshal(text, &doc))
	require.Len(t, doc.Comparison.Shadow, 1)
	assert.Equal(t, "GET bank.example/api/accounts", doc.Comparison.Shadow[0].Endpoint)
	assert.Len(t, doc.Comparison.Drifted, 1)
	assert.Len(t, doc.Comparison.Orphaned, 1)
	assert.Empty(t, doc.Comparison.Zombie)
}

func TestAMistakeInASpecificationIsNamed(t *testing.T) {
	capture := attack(t).save("attack.pcapng")
	bad := save(t, "bad.yaml", []byte("openapi: 3.1.0\npaths:\n  users: {}\n"))
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"what is wrong in it", []string{"--spec", bad}, bad + `:3: path "users" does not begin with /; write /users`},
		{"a file that is not there", []string{"--spec", bad + "x"}, bad + "x: no such file or directory"},
		{"nowhere to write the comparison", []string{"--spec", bad, "--findings", filepath.Join(t.TempDir(), "f")}, "name a --sitemap too"},
		{"it would be overwritten", []string{"--spec", bad, "--sitemap", bad}, "which it would overwrite"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, append(append([]string{"replay"}, c.args...), capture)...)
			assert.Equal(t, 2, r.status)
			assert.Contains(t, r.stderr, c.want)
			assert.Equal(t, 1, strings.Count(r.stderr, "\n"), r.stderr)
		})
	}
}

func TestClassesOfSensitiveDataAreInTheMapAndNoValues(t *testing.T) {
	s := newSynth(t)
	for i := range 20 {
		c := s.connect("198.51.100.7:" + itoa(20000+i))
		c.exchange("POST /api/pay HTTP/1.1\r\nHost: bank.example\r\nContent-Type: application/json\r\nContent-Length: 26\r\n\r\n{\"pan\":\"4111111111111111\"}",
			"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 33\r\n\r\n{\"iban\":\"DE89370400440532013000\"}")
		c.close()
	}
	capture := s.save("pay.pcapng")
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	sensitive := func(args ...string) map[string]uint64 {
		t.Helper()
		r := run(t, append([]string{"replay", "--sitemap", path("map.json")}, args...)...)
		assert.Equal(t, 0, r.status, r.stderr)
		text, err := os.ReadFile(path("map.json"))
		require.NoError(t, err)
		assert.NotContains(t, string(text), "4111111111111111")
		assert.NotContains(t, string(text), "DE8937")
		var doc struct {
			Paths map[string]map[string]struct {
				Endpoints []struct {
					Sensitive map[string]uint64
					Looked    uint64 `json:"sensitive_looked"`
				} `json:"x-offpath-endpoints"`
			}
		}
		require.NoError(t, json.Unmarshal(text, &doc))
		e := doc.Paths["/api/pay"]["post"].Endpoints[0]
		if e.Sensitive != nil {
			assert.EqualValues(t, 20, e.Looked)
		}
		return e.Sensitive
	}
	want := map[string]uint64{"request.body.card": 20, "response.body.iban": 20}
	assert.Equal(t, want, sensitive(capture))

	r := run(t, "replay", "--detail", "sensitive", "--transactions", path("with.jsonl"), capture)
	assert.Equal(t, 0, r.status, r.stderr)
	assert.Equal(t, want, sensitive(path("with.jsonl")), "lines that have them give the same map")
	r = run(t, "replay", "--transactions", path("without.jsonl"), capture)
	assert.Equal(t, 0, r.status, r.stderr)
	assert.Nil(t, sensitive(path("without.jsonl")), "nobody looked")
}
