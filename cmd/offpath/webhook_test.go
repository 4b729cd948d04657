package main_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// line is what matters here of a verdict.
type line struct {
	Event   struct{ ID string }
	Offpath struct {
		Action, Mode string
		Subject      struct{ User struct{ Hash string } }
	}
	Message string
}

// What detection decides about an account, which no load balancer can match, reaches the
// application, and so does the rest.
func TestHoldsOfAccountsReachTheApplication(t *testing.T) {
	var mu sync.Mutex
	told := map[string]line{}
	mode := ""
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			Data struct {
				Mode   string
				Events []struct {
					Event   string
					Verdict line
				}
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, e := range m.Data.Events {
			if e.Event == "active" {
				told[e.Verdict.Event.ID] = e.Verdict
			}
		}
		if m.Data.Mode != "" {
			mode = m.Data.Mode
		}
	}))
	defer application.Close()
	secret := save(t, "secret", []byte("a secret of sixteen octets or more\n"))
	config := save(t, "c.yaml", []byte(`
mitigate:
  mode: enforce
  targets:
    - {name: fraud, type: webhook, address: "`+application.URL+`", secret: "file:`+secret+`"}
detect:
  policies:
    - {name: again, when: entity.requests >= 2, per: user, action: hold, ttl: 1h}
admin: {socket: ""}
state: {dir: `+t.TempDir()+`}
`))
	verdicts := filepath.Join(t.TempDir(), "v")
	r := run(t, "replay", "--config", config, "--mitigate", "--verdicts", verdicts, attack(t).save("attack.pcapng"))
	require.Equal(t, 0, r.status, r.stderr)

	decided := map[string]line{}
	holds := 0
	text, err := os.Open(verdicts)
	require.NoError(t, err)
	defer text.Close()
	for lines := json.NewDecoder(text); lines.More(); {
		var l line
		require.NoError(t, lines.Decode(&l))
		decided[l.Event.ID] = l
		if l.Offpath.Action == "hold" {
			holds++
			assert.NotEmpty(t, l.Offpath.Subject.User.Hash)
		}
	}
	assert.Positive(t, holds)
	assert.Less(t, holds, len(decided))
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, decided, told)
	assert.Equal(t, "enforce", mode)
}
