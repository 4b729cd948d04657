package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// siteMap is what a document says of the one login that there is.
type siteMap struct {
	Paths map[string]map[string]struct {
		Endpoints []struct {
			Requests int
			Statuses map[string]int
			Roles    map[string]int
			Looked   int `json:"sensitive_looked"`
		} `json:"x-offpath-endpoints"`
	}
	Since string `json:"x-offpath-since"`
}

// logins is how many requests to the login the map of a service has.
func logins(t *testing.T, r *running) (requests int, text string, doc siteMap) {
	t.Helper()
	status, text := r.do("GET", "/api/v1/sitemap", "")
	require.Equal(t, 200, status, text)
	require.NoError(t, json.Unmarshal([]byte(text), &doc))
	if list := doc.Paths["/api/login"]["post"].Endpoints; len(list) > 0 {
		requests = list[0].Requests
	}
	return requests, text, doc
}

const bankSpec = `openapi: 3.1.0
info: {title: Bank, version: "1"}
paths:
  /api/login: {post: {responses: {200: {description: ok}}}}
  /api/gone: {get: {responses: {200: {description: ok}}}}
`

func TestARunningOffpathKeepsTheMapThatAReplayOfItsTrafficMakes(t *testing.T) {
	needRoot(t)
	folder := t.TempDir()
	spec, record, replayed := save(t, "spec.yaml", []byte(bankSpec)), filepath.Join(folder, "all.pcapng"), filepath.Join(folder, "map.json")
	c := service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo", "OFFPATH_CAPTURE_RECORD="+record,
		"OFFPATH_DETECT_SPECIFICATION="+spec, "OFFPATH_REASSEMBLY_SENSITIVE=true")
	r := startService(t, c)
	url := loginSite(t)
	attempts := func(name string, n int, password string) {
		for i := range n {
			user := name + itoa(i)
			if password == "" {
				logIn(t, url, "127.0.1."+itoa(i+1), user, user)
			} else {
				logIn(t, url, "127.0.1."+itoa(i+1), user, password)
			}
		}
	}
	attempts("customer", 30, "")
	attempts("other", 5, "wrong")
	var text string
	var before siteMap
	eventually(t, func() (ok bool) {
		n := 0
		n, text, before = logins(t, r)
		return n == 35
	}, "all requests in the map")
	status, comparison := r.do("GET", "/api/v1/sitemap/comparison", "")
	assert.Equal(t, 200, status, comparison)
	var differences struct {
		Matching          int
		Drifted, Orphaned []struct {
			Operation string
			Why       []string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(comparison), &differences))
	require.Len(t, differences.Drifted, 1, comparison)
	assert.Equal(t, []string{"not specified: status 401 (5 seen)"}, differences.Drifted[0].Why)
	require.Len(t, differences.Orphaned, 1, comparison)
	assert.Equal(t, "GET /api/gone", differences.Orphaned[0].Operation)
	status, yaml := r.do("GET", "/api/v1/sitemap?format=yaml", "")
	assert.Equal(t, 200, status)
	for _, document := range []string{text, yaml} {
		doc, err := libopenapi.NewDocument([]byte(document))
		require.NoError(t, err)
		v, errs := validator.NewValidator(doc)
		require.Empty(t, errs)
		valid, problems := v.ValidateDocument()
		assert.True(t, valid, problems)
	}
	login := before.Paths["/api/login"]["post"].Endpoints[0]
	assert.Equal(t, map[string]int{"200": 30, "401": 5}, login.Statuses)
	assert.NotZero(t, login.Roles["login"])
	assert.Equal(t, 35, login.Looked, "for sensitive data, as configured")

	assert.Equal(t, 0, r.stop(syscall.SIGTERM))
	done := run(t, "replay", "--sitemap", replayed, "--spec", spec, record)
	assert.Equal(t, 0, done.status, done.stderr)
	again1, err := os.ReadFile(replayed)
	require.NoError(t, err)
	assert.Equal(t, string(again1), text)

	c.Env = append(c.Env, "OFFPATH_CAPTURE_RECORD=", "OFFPATH_REASSEMBLY_SENSITIVE=false")
	r = again(t, c)
	attempts("customer", 10, "")
	var after siteMap
	eventually(t, func() (ok bool) {
		n := 0
		n, _, after = logins(t, r)
		return n == 45
	}, "the requests of before the restart, and those of after it")
	assert.Equal(t, before.Since, after.Since, "the time since when")
	_, metrics := r.do("GET", "/metrics", "")
	assert.Contains(t, metrics, "\noffpath_detect_held{table=\"sitemap\"} ")
	assert.Contains(t, metrics, "\noffpath_detect_sitemap_lost_total 0\n")

	require.NoError(t, os.WriteFile(spec, []byte("openapi: 3.1.0\npaths:\n  users: {}\n"), 0o644))
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGHUP))
	e := r.await("the specification could not be read again; the old one stays in use")
	assert.Contains(t, e.Error, `detect.specification: `+spec+`:3: path "users" does not begin with /; write /users`)
	r.await("configuration read again")
	_, comparison = r.do("GET", "/api/v1/sitemap/comparison", "")
	assert.Contains(t, comparison, "GET /api/gone")
	require.NoError(t, os.WriteFile(spec, []byte("openapi: 3.1.0\ninfo: {title: Bank, version: \"2\"}\npaths:\n  /api/new: {get: {responses: {200: {description: ok}}}}\n"), 0o644))
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGHUP))
	r.await("configuration read again")
	_, comparison = r.do("GET", "/api/v1/sitemap/comparison", "")
	assert.NotContains(t, comparison, "GET /api/gone")
	assert.Contains(t, comparison, "GET /api/new")
	assert.Equal(t, 0, r.stop(syscall.SIGTERM))
}

func TestWithoutAMapTheAPISaysWhy(t *testing.T) {
	needRoot(t)
	r := startService(t, service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo", "OFFPATH_DETECT_SITEMAP=0"))
	status, text := r.do("GET", "/api/v1/sitemap", "")
	assert.Equal(t, 409, status)
	assert.Contains(t, text, "detect.sitemap is 0")
	with := startService(t, service(t, "run", "OFFPATH_CAPTURE_INTERFACES=lo"))
	status, text = with.do("GET", "/api/v1/sitemap/comparison", "")
	assert.Equal(t, 409, status)
	assert.Contains(t, text, "detect.specification")
}

func TestAMistakeInTheSpecificationIsNamedBeforeAnythingRuns(t *testing.T) {
	bad := save(t, "bad.yaml", []byte("openapi: 3.1.0\npaths:\n  users: {}\n"))
	c := save(t, "c.yaml", []byte("capture: {interfaces: [lo]}\nadmin: {socket: \"\", listen: \"\"}\ndetect: {specification: "+bad+"}\nstate: {dir: "+t.TempDir()+"}\n"))
	r := run(t, "check", "--config", c)
	assert.NotEqual(t, 0, r.status)
	assert.Contains(t, r.stdout+r.stderr, bad+`:3: path "users" does not begin with /; write /users`)
	needRoot(t)
	r = run(t, "run", "--config", c)
	assert.Equal(t, 2, r.status)
	assert.Contains(t, r.stderr, bad+`:3: path "users" does not begin with /; write /users`)
}
