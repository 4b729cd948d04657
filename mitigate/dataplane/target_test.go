package dataplane_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/mitigate/dataplane"
	"offpath/mitigate/haproxy"
	"offpath/mitigate/internal/dataplanetest"
	"offpath/mitigate/internal/haproxytest"
	"offpath/mitigate/internal/targettest"
)

// entry blocks a client, an address or a network, for an hour.
func entry(id mitigate.ID, client string) mitigate.Entry {
	return mitigate.Entry{
		ID: 1<<32 + id, Action: detect.ActionBlock, Subject: detect.Subject{Client: targettest.Network(client)},
		Expires: time.Now().Add(time.Hour).Unix(),
	}
}

// enforcing is one in mode enforce, with its target.
func enforcing(t testing.TB) (*dataplanetest.Server, *dataplane.Target) {
	t.Helper()
	s := dataplanetest.Start(t, proxied, 3)
	target := newTarget(t, s, s.Address)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	return s, target
}

// serve has a handler listen.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// status is what a client is answered.
func status(t testing.TB, s *dataplanetest.Server, client string) int {
	t.Helper()
	return s.Get(client, "/").Status
}

// call sends a request to the API as any user of it would.
func call(t testing.TB, s *dataplanetest.Server, method, path, body string) int {
	t.Helper()
	request, err := http.NewRequest(method, s.Address+path, strings.NewReader(body))
	require.NoError(t, err)
	request.SetBasicAuth(dataplanetest.User, dataplanetest.Password)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	return response.StatusCode
}

const maps = "/v3/services/haproxy/runtime/maps/"

func TestAReloadAtAnyTimeChangesNothing(t *testing.T) {
	s, target := enforcing(t)
	many := make([]mitigate.Entry, 300)
	for i := range many {
		many[i] = entry(mitigate.ID(i+10), fmt.Sprintf("127.9.%d.%d", i>>8, i&255))
	}
	address, network := entry(1, targettest.Attacker), entry(2, "127.7.0.0/16")
	program := entry(3, targettest.Attacker)
	program.Subject = detect.Subject{Fingerprint: targettest.CrackerCore}
	for _, tt := range []struct {
		name   string
		set    []mitigate.Entry
		client string
		as     []string
	}{
		{"of an address", []mitigate.Entry{address}, targettest.Attacker, nil},
		{"of a network", []mitigate.Entry{network}, "127.7.8.9", nil},
		{"of a program", []mitigate.Entry{program}, targettest.Customer, targettest.Cracker},
		{"of many", many, "127.9.1.1", nil},
	} {
		t.Run("a verdict "+tt.name, func(t *testing.T) {
			require.NoError(t, target.Apply(t.Context(), tt.set, nil))
			s.Reload()
			assert.Equal(t, 403, s.Get(tt.client, "/", tt.as...).Status, "it is still in force")
			var gone []detect.Subject
			for _, e := range tt.set {
				gone = append(gone, e.Subject)
			}
			require.NoError(t, target.Apply(t.Context(), nil, gone))
			assert.Equal(t, 200, s.Get(tt.client, "/", tt.as...).Status)
			s.Reload()
			assert.Equal(t, 200, s.Get(tt.client, "/", tt.as...).Status, "it does not come back")
		})
	}
	t.Run("the allow-list", func(t *testing.T) {
		require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{address}, nil))
		require.NoError(t, target.SetAllow(t.Context(), []netip.Prefix{targettest.Network(targettest.Attacker)}))
		assert.Equal(t, 200, status(t, s, targettest.Attacker))
		s.Reload()
		assert.Equal(t, 200, status(t, s, targettest.Attacker))
		require.NoError(t, target.SetAllow(t.Context(), nil))
		s.Reload()
		assert.Equal(t, 403, status(t, s, targettest.Attacker))
	})
	t.Run("the kill switch, with the controller dead", func(t *testing.T) {
		require.NoError(t, target.Apply(t.Context(), append(many, address), nil))
		require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))
		assert.Equal(t, 200, status(t, s, targettest.Attacker))
		s.Reload()
		assert.Equal(t, 200, status(t, s, targettest.Attacker))
		s.Down()
		s.Up()
		assert.Equal(t, 200, status(t, s, targettest.Attacker))
		require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
		s.Down()
		s.Up()
		assert.Equal(t, 403, status(t, s, targettest.Attacker), "verdicts and mode outlive a restart")
	})
}

func TestAFileThatCouldNotFollowDoesSoAtTheNextComparison(t *testing.T) {
	s, target := enforcing(t)
	address, network := entry(1, targettest.Attacker), entry(2, "127.7.0.0/16")
	allow := []netip.Prefix{targettest.Network("127.7.1.1")}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{address, network}, nil))
	require.NoError(t, target.SetAllow(t.Context(), nil))
	full := newTarget(t, s, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if !query.Has("force_sync") {
			s.API.ServeHTTP(w, r)
			return
		}
		query.Del("force_sync") // its disk is full, say
		r.URL.RawQuery = query.Encode()
		s.API.ServeHTTP(httptest.NewRecorder(), r)
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, `{"code":500,"message":"no space left on device"}`)
	})))
	assert.ErrorContains(t, full.Apply(t.Context(), nil, []detect.Subject{address.Subject}), "no space left")
	assert.ErrorContains(t, full.Apply(t.Context(), nil, []detect.Subject{network.Subject}), "no space left")
	assert.ErrorContains(t, full.SetAllow(t.Context(), allow), "no space left")
	_, err := full.Sync(t.Context(), nil)
	assert.ErrorContains(t, err, "no space left", "and it is said until it is so")

	require.NoError(t, target.SetAllow(t.Context(), allow))
	report, err := target.Sync(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Compared: true}, report, "HAProxy has had it before")
	s.Reload()
	assert.Equal(t, 200, status(t, s, targettest.Attacker))
	assert.Equal(t, 200, status(t, s, "127.7.8.9"))
	assert.Contains(t, s.Held(t, "offpath-allow-live"), "127.7.1.1/32")
}

func TestTheStandInForgetsAndBringsBackWhereItsUserDoesNotAskForTheFiles(t *testing.T) {
	s, _ := enforcing(t)
	value := fmt.Sprintf(`{"key":"ip:%s","value":"1:%d:0:0000000100000001"}`, targettest.Attacker, time.Now().Unix()+3600)
	require.Equal(t, 201, call(t, s, "POST", maps+"offpath-verdicts/entries", value))
	require.Equal(t, 409, call(t, s, "POST", maps+"offpath-verdicts/entries", value))
	require.Equal(t, 403, status(t, s, targettest.Attacker))
	s.Reload()
	require.Equal(t, 200, status(t, s, targettest.Attacker), "a reload in the ten seconds forgets")
	require.Equal(t, 201, call(t, s, "POST", maps+"offpath-verdicts/entries?force_sync=true", value))
	require.Equal(t, 204, call(t, s, "DELETE", maps+"offpath-verdicts/entries/ip:"+targettest.Attacker, ""))
	require.Equal(t, 404, call(t, s, "DELETE", maps+"offpath-verdicts/entries/ip:"+targettest.Attacker, ""))
	s.Reload()
	require.Equal(t, 403, status(t, s, targettest.Attacker), "and brings back")

	require.Equal(t, 201, call(t, s, "PUT", maps+"offpath-verdicts", `[{"key":"a","value":"1 2"}]`))
	assert.Len(t, s.Held(t, "offpath-verdicts"), 2, "a short list is appended")
	assert.Equal(t, "1", s.Held(t, "offpath-verdicts")["a"], "of a value the first word counts")
	list, err := json.Marshal(dataplane.Padded([]dataplane.Line{{Key: "b", Value: "1"}}))
	require.NoError(t, err)
	require.Equal(t, 201, call(t, s, "PUT", maps+"offpath-verdicts", string(list)))
	assert.NotContains(t, s.Held(t, "offpath-verdicts"), "a", "a long one replaces")

	require.Equal(t, 201, call(t, s, "POST", maps+"offpath-networks/entries", `{"key":"2001:db8::/32","value":"1"}`))
	require.Equal(t, 201, call(t, s, "POST", maps+"offpath-networks/entries", `{"key":"2001:db8::/32","value":"2"}`), "a network of IPv6 is not found, and so added again")
	assert.Equal(t, "1", s.Held(t, "offpath-networks")["2001:db8::/32"])
	require.Equal(t, 404, call(t, s, "PUT", maps+"offpath-networks/entries/2001:db8::%2F32", `{"value":"3"}`), "it is set and said not to be there")
	assert.Equal(t, "3", s.Held(t, "offpath-networks")["2001:db8::/32"])
	require.Equal(t, 422, call(t, s, "DELETE", maps+"offpath-verdicts/entries/a;b", ""))
	require.Equal(t, 404, call(t, s, "GET", "/v2/services/haproxy/runtime/maps", ""))

	s.Down()
	require.Equal(t, 404, call(t, s, "GET", maps+"offpath-verdicts/entries", ""), "so it answers, too, when it can't reach HAProxy")
}

func TestFilesFollowByThemselvesWithinThePeriod(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the period of ten seconds")
	}
	s, _ := enforcing(t)
	require.Equal(t, 201, call(t, s, "POST", maps+"offpath-mode/entries", `{"key":"off","value":"1"}`))
	file := filepath.Join(s.MapDir, "offpath-mode.map")
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(text), "off 1\n")
	}, targettest.Wait, 100*time.Millisecond)
}

func TestAPersonAtTheLoadBalancerTurnsItOff(t *testing.T) {
	s, target := enforcing(t)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(1, targettest.Attacker)}, nil))
	require.Equal(t, 403, status(t, s, targettest.Attacker))
	mode := func() string {
		mode, local, err := target.Mode(t.Context())
		require.NoError(t, err)
		return fmt.Sprint(mode, local)
	}
	require.Equal(t, "enforcefalse", mode())
	require.Equal(t, 201, call(t, s, "POST", maps+"offpath-mode/entries?force_sync=true", `{"key":"off","value":"1"}`))
	assert.Equal(t, 200, status(t, s, targettest.Attacker))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	assert.Equal(t, 200, status(t, s, targettest.Attacker), "offpath does not end it")
	s.Reload()
	assert.Equal(t, 200, status(t, s, targettest.Attacker))
	assert.Equal(t, "offtrue", mode())
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, true))
	assert.Equal(t, 403, status(t, s, targettest.Attacker), "but when a person asks for that")
	assert.Equal(t, "enforcefalse", mode())
	s.Command("add map " + filepath.Join(s.MapDir, "offpath-mode.map") + " off 1")
	assert.Equal(t, 200, status(t, s, targettest.Attacker), "without the API, too")
	assert.Equal(t, "offtrue", mode())
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, true))
	assert.Equal(t, 403, status(t, s, targettest.Attacker))
	require.Equal(t, 204, call(t, s, "DELETE", maps+"offpath-mode/entries/mode", ""))
	assert.Equal(t, 200, status(t, s, targettest.Attacker), "no mode means off")
	assert.Equal(t, "offfalse", mode())
}

func TestTheKillSwitchIsOneRequest(t *testing.T) {
	s, target := enforcing(t)
	var entries []mitigate.Entry
	for i := range 10_000 {
		entries = append(entries, entry(mitigate.ID(i+1), fmt.Sprintf("127.%d.%d.1", 10+i>>8, i&255)))
	}
	report, err := target.Sync(t.Context(), entries)
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Compared: true, Set: 10_000}, report)
	require.Equal(t, 403, status(t, s, "127.49.1.1"))
	var mu gosync.Mutex
	var asked []string
	counted := newTarget(t, s, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method)
		mu.Unlock()
		s.API.ServeHTTP(w, r)
	})))
	_, err = counted.Identity(t.Context()) // which tells the version
	require.NoError(t, err)
	asked = nil
	require.NoError(t, counted.SetMode(t.Context(), detect.ModeOff, false))
	assert.Equal(t, []string{"PUT"}, asked)
	assert.Equal(t, 200, status(t, s, "127.49.1.1"))

	report, err = target.Sync(t.Context(), entries)
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Compared: true, Held: 10_000}, report, "nothing was lost")
	report, err = target.Sync(t.Context(), entries[:50])
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Compared: true, Held: 10_000, Removed: 9950}, report)
}

func TestSyncMakesTheMapsHoldExactlyWhatIsWanted(t *testing.T) {
	s, target := enforcing(t)
	allow := filepath.Join(s.MapDir, "offpath-allow.map")
	for name, lines := range map[string]string{
		"offpath-verdicts": `[{"key":"ip:192.0.2.1","value":"1:99:0:0000000100000009"},{"key":"ip:192.0.2.1","value":"x"},{"key":"what/ever","value":"x"}]`,
		"offpath-networks": `[{"key":"192.0.2.0/24","value":"x"},{"key":"198.51.100.0/24","value":"1:4000000000:0:0000000100000009"}]`,
		"offpath-allow":    `[{"key":"203.0.113.0/24","value":"1"}]`,
	} {
		require.Equal(t, 201, call(t, s, "PUT", maps+name+"?force_sync=true", lines), name)
	}
	program := entry(4, targettest.Attacker)
	program.Subject = detect.Subject{Fingerprint: targettest.CrackerCore, Domain: "bank.example"}
	wanted := []mitigate.Entry{entry(1, targettest.Attacker), entry(2, "2001:db8::7"), entry(3, "127.7.0.0/16"), program}
	_, err := target.Sync(t.Context(), wanted)
	require.NoError(t, err)
	ids := func(name string) (list []string) {
		for key, value := range s.Held(t, name) {
			if !dataplane.IsPad(key) {
				list = append(list, key[:min(len(key), 14)]+" "+value[strings.LastIndexByte(value, ':')+1:])
			}
		}
		return list
	}
	verdicts := ids("offpath-verdicts")
	require.Len(t, verdicts, 4)
	assert.Contains(t, verdicts, "ip:127.1.2.3 0000000100000001")
	assert.Contains(t, verdicts, "ip:2001:db8::7 0000000100000002")
	assert.Equal(t, []string{"127.7.0.0/16 0000000100000003"}, ids("offpath-networks"))
	assert.Equal(t, map[string]string{"203.0.113.0/24": "1"}, s.Held(t, "offpath-allow"), "the operator's own")
	text, err := os.ReadFile(allow)
	require.NoError(t, err)
	assert.Equal(t, "203.0.113.0/24 1\n", string(text))

	report, err := target.Sync(t.Context(), wanted)
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: 4, Compared: true}, report, "the second time there is nothing to do")
	assert.Equal(t, 403, s.Get(targettest.Customer, "/", targettest.At("bank.example", targettest.Cracker)...).Status)
	_, err = target.Sync(t.Context(), nil)
	require.NoError(t, err)
	assert.Empty(t, ids("offpath-verdicts"))
	assert.Empty(t, ids("offpath-networks"))
}

func TestAnotherControllersPredicatesAreFoundAfterOneMore(t *testing.T) {
	s, target := enforcing(t)
	first, second := entry(1, targettest.Attacker), entry(2, targettest.Attacker)
	first.Subject, second.Subject = detect.Subject{Fingerprint: targettest.CrackerCore}, detect.Subject{Domain: "a.example"}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{first}, nil))
	require.NoError(t, newTarget(t, s, s.Address).Apply(t.Context(), []mitigate.Entry{second}, nil))
	assert.Equal(t, 403, s.Get(targettest.Attacker, "/", targettest.Cracker...).Status)
	assert.Equal(t, 403, s.Get(targettest.Attacker, "/", "Host", "a.example").Status)
}

func TestWhatIsOverIsSweptAndNothingElse(t *testing.T) {
	s, target := enforcing(t)
	now := time.Now().Unix()
	old, lately, live, network, later := entry(1, "192.0.2.1"), entry(2, "192.0.2.2"), entry(3, "192.0.2.3"), entry(4, "198.51.100.0/24"), entry(5, "203.0.113.0/24")
	old.Expires, lately.Expires, network.Expires = now-300, now-5, now-300
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{old, lately, live, network, later}, nil))
	require.NoError(t, target.Sweep(t.Context()))
	held := s.Held(t, "offpath-verdicts")
	assert.NotContains(t, held, "ip:192.0.2.1")
	assert.Contains(t, held, "ip:192.0.2.2", "clocks may differ")
	assert.Contains(t, held, "ip:192.0.2.3")
	assert.NotContains(t, s.Held(t, "offpath-networks"), "198.51.100.0/24")
	assert.Contains(t, s.Held(t, "offpath-networks"), "203.0.113.0/24")
	s.Reload()
	assert.NotContains(t, s.Held(t, "offpath-verdicts"), "ip:192.0.2.1")
}

func TestOfNetworksThatOverlapTheWiderIsInForce(t *testing.T) {
	s, target := enforcing(t)
	wide, narrow, watched := entry(1, "127.7.0.0/16"), entry(2, "127.7.8.0/24"), entry(3, "127.0.0.0/8")
	watched.Monitor = true
	err := target.Apply(t.Context(), []mitigate.Entry{narrow, wide, watched}, nil)
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, err, &rejected)
	var ids []mitigate.ID
	for _, r := range rejected.Rejections {
		ids = append(ids, r.ID)
	}
	assert.ElementsMatch(t, []mitigate.ID{narrow.ID, watched.ID}, ids)
	assert.ErrorContains(t, err, "127.7.8.0/24 overlaps 127.7.0.0/16")
	assert.Equal(t, wide.ID.String(), s.Get("127.7.8.9", "/").Marker)
	assert.Equal(t, wide.ID.String(), s.Get("127.7.9.9", "/").Marker)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{narrow}, []detect.Subject{wide.Subject}))
	assert.Equal(t, narrow.ID.String(), s.Get("127.7.8.9", "/").Marker)
}

func TestWhatItCantCarryExactlyItSays(t *testing.T) {
	target, err := dataplane.New(dataplane.Options{Name: "lb1", Address: "https://lb1", User: "u", Password: password})
	require.NoError(t, err)
	client := detect.Subject{Client: targettest.Network("192.0.2.1")}
	expires := time.Now().Unix() + 60
	for name, e := range map[string]mitigate.Entry{
		"JA4":             {ID: 1<<32 + 1, Action: detect.ActionBlock, Expires: expires, Subject: detect.Subject{JA4: "t13d1516h2_8daaf6152771_02713d6af862"}},
		"a session":       {ID: 1<<32 + 1, Action: detect.ActionBlock, Expires: expires, Subject: detect.Subject{Session: "0123456789abcdef"}},
		"an account":      {ID: 1<<32 + 1, Action: detect.ActionHold, Expires: expires, Subject: detect.Subject{UserHash: "0123456789abcdef"}},
		"a deceit":        {ID: 1<<32 + 1, Action: detect.ActionDeceive, Expires: expires, Subject: client},
		"a challenge":     {ID: 1<<32 + 1, Action: detect.ActionChallenge, Expires: expires, Subject: client},
		"a template":      {ID: 1<<32 + 1, Action: detect.ActionBlock, Expires: expires, Subject: detect.Subject{Endpoint: "GET a.example/{id}"}},
		"no subject":      {ID: 1<<32 + 1, Action: detect.ActionBlock, Expires: expires},
		"no expiry":       {ID: 1<<32 + 1, Action: detect.ActionBlock, Subject: client},
		"a rate of ever":  {ID: 1<<32 + 1, Action: detect.ActionRateLimit, Expires: expires, Subject: client},
		"an id of a half": {ID: 1, Action: detect.ActionBlock, Expires: expires, Subject: client},
	} {
		assert.ErrorIs(t, target.Carries(&e), mitigate.ErrUnsupported, name)
	}
	for _, action := range []detect.Action{detect.ActionBlock, detect.ActionTag} {
		assert.NoError(t, target.Carries(&mitigate.Entry{ID: 1<<32 + 1, Action: action, Expires: expires, Subject: client}))
	}
}

func TestEachVersionOfTheAPIIsFoundAndAnUpgradeToo(t *testing.T) {
	s := dataplanetest.Start(t, proxied, 2)
	options := dataplanetest.Options{
		Socket: strings.TrimPrefix(s.Socket, "unix:"), MapsDir: s.MapDir, Version: 3, User: dataplanetest.User, Password: dataplanetest.Password,
	}
	var mu gosync.Mutex
	api := s.API
	target := newTarget(t, s, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		api := api
		mu.Unlock()
		api.ServeHTTP(w, r)
	})))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	before, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.Contains(t, before.Version, "2.6.")
	mu.Lock()
	api = dataplanetest.New(t, options)
	mu.Unlock()
	after, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before.Process, after.Process, "HAProxy is the same")
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(1, targettest.Attacker)}, nil))
	assert.Equal(t, 403, status(t, s, targettest.Attacker))
	s.Reload()
	again, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, before.Process, again.Process, "it is another process")
	assert.InDelta(t, 0, again.Skew, 2)

	fixed, err := dataplane.New(dataplane.Options{Address: s.Address, User: dataplanetest.User, Password: password, MapDir: s.MapDir, Version: 3})
	require.NoError(t, err)
	_, err = fixed.Identity(t.Context())
	assert.ErrorContains(t, err, "none of the versions [3]")
}

func TestALoadBalancerThatIsNotPreparedIsTold(t *testing.T) {
	s, target := enforcing(t)
	require.NoError(t, target.Prepared(t.Context()))
	elsewhere, err := dataplane.New(dataplane.Options{Address: s.Address, User: dataplanetest.User, Password: password})
	require.NoError(t, err)
	err = elsewhere.Prepared(t.Context())
	assert.ErrorIs(t, err, dataplane.ErrNotPrepared)
	assert.ErrorContains(t, err, "no map /etc/haproxy/maps/offpath-verdicts.map, but "+s.MapDir+"/offpath-verdicts.map")

	bare := haproxytest.NewBare(t, haproxy.Setup{})
	bare.Up()
	api := dataplanetest.New(t, dataplanetest.Options{
		Socket: strings.TrimPrefix(bare.Socket, "unix:"), MapsDir: bare.Dir, Version: 3, User: dataplanetest.User, Password: dataplanetest.Password,
	})
	none, err := dataplane.New(dataplane.Options{Address: serve(t, api), User: dataplanetest.User, Password: password, MapDir: bare.Dir})
	require.NoError(t, err)
	assert.ErrorIs(t, none.Prepared(t.Context()), dataplane.ErrNotPrepared)
	assert.ErrorIs(t, none.Apply(t.Context(), []mitigate.Entry{entry(1, targettest.Attacker)}, nil), dataplane.ErrNotPrepared)
	assert.ErrorIs(t, none.SetMode(t.Context(), detect.ModeEnforce, false), dataplane.ErrNotPrepared)
	_, err = none.Sync(t.Context(), nil)
	assert.ErrorIs(t, err, dataplane.ErrNotPrepared)

	s.Configure(strings.Replace(s.Config(), "backend offpath_dataplane_", "backend offpath_dataplane_0", 1))
	s.Reload()
	assert.ErrorContains(t, target.Prepared(t.Context()), "no table offpath_dataplane_1")
}

func TestNothingIsDoneWhileHAProxyOrItsAPICantBeReached(t *testing.T) {
	s, target := enforcing(t)
	e := entry(1, targettest.Attacker)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	all := map[string]func(*dataplane.Target) error{
		"identity": func(target *dataplane.Target) error { _, err := target.Identity(t.Context()); return err },
		"set":      func(target *dataplane.Target) error { return target.Apply(t.Context(), []mitigate.Entry{e}, nil) },
		"remove": func(target *dataplane.Target) error {
			return target.Apply(t.Context(), nil, []detect.Subject{e.Subject})
		},
		"sync":     func(target *dataplane.Target) error { _, err := target.Sync(t.Context(), nil); return err },
		"sweep":    func(target *dataplane.Target) error { return target.Sweep(t.Context()) },
		"allow":    func(target *dataplane.Target) error { return target.SetAllow(t.Context(), nil) },
		"mode":     func(target *dataplane.Target) error { return target.SetMode(t.Context(), detect.ModeOff, true) },
		"get mode": func(target *dataplane.Target) error { _, _, err := target.Mode(t.Context()); return err },
		"hits":     func(target *dataplane.Target) error { _, err := target.Hits(t.Context()); return err },
	}
	s.Down()
	for name, f := range all {
		err := f(target)
		assert.Error(t, err, name)
		assert.NotErrorIs(t, err, dataplane.ErrNotPrepared, name)
	}
	s.Up()
	assert.Equal(t, 403, status(t, s, targettest.Attacker))

	wrong, err := dataplane.New(dataplane.Options{
		Address: s.Address, User: dataplanetest.User, MapDir: s.MapDir, Password: func() ([]byte, error) { return []byte("guess"), nil },
	})
	require.NoError(t, err)
	server := httptest.NewServer(s.API)
	server.Close()
	gone := newTarget(t, s, server.URL)
	for name, f := range all {
		assert.ErrorContains(t, f(wrong), "unauthorized", name)
		assert.Error(t, f(gone), name)
	}
	assert.Equal(t, 403, status(t, s, targettest.Attacker))
}

func TestTheAPIIsBelievedWithItsCertificateAlone(t *testing.T) {
	s := dataplanetest.Start(t, proxied, 3)
	server := httptest.NewTLSServer(s.API)
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	for _, tt := range []struct{ ca, want string }{{ca, ""}, {"", "certificate"}, {"/no/such", "read ca"}} {
		target, err := dataplane.New(dataplane.Options{Address: server.URL, User: dataplanetest.User, Password: password, MapDir: s.MapDir, CA: tt.ca})
		require.NoError(t, err)
		_, err = target.Identity(t.Context())
		if tt.want == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, tt.want)
		}
	}
}

func TestAnAPIThatAppendsWhatIsToReplaceDoesNoHarmAndIsTold(t *testing.T) {
	s, target := enforcing(t)
	old := entry(1, targettest.Attacker)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{old, entry(2, "127.7.0.0/16")}, nil))
	api := dataplanetest.New(t, dataplanetest.Options{
		Socket: strings.TrimPrefix(s.Socket, "unix:"), MapsDir: s.MapDir, Version: 3, User: dataplanetest.User, Password: dataplanetest.Password,
		Versionless: true,
	})
	target = newTarget(t, s, serve(t, api))
	many := []mitigate.Entry{}
	for i := range 500 {
		many = append(many, entry(mitigate.ID(i+10), fmt.Sprintf("127.9.%d.%d", i>>8, i&255)))
	}
	length := func() int {
		return len(strings.Split(s.Command("show map "+filepath.Join(s.MapDir, "offpath-verdicts.map")), "\n"))
	}
	var after int
	for try := range 10 {
		assert.Error(t, target.Apply(t.Context(), many, nil))
		assert.Equal(t, 403, status(t, s, targettest.Attacker))
		assert.Equal(t, 200, status(t, s, "127.9.1.1"), "none of many is in force")
		if try == 1 {
			after = length()
		}
	}
	assert.Equal(t, after, length(), "it is not tried for ever")
	assert.ErrorContains(t, target.Apply(t.Context(), nil, []detect.Subject{entry(2, "127.7.0.0/16").Subject}), "restart it")
	require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{old.Subject}), "single verdicts are written as ever")
	assert.Equal(t, 200, status(t, s, targettest.Attacker))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeOff, false))

	mended := newTarget(t, s, s.Address)
	require.NoError(t, mended.SetMode(t.Context(), detect.ModeEnforce, false))
	_, err := mended.Sync(t.Context(), many)
	require.NoError(t, err)
	assert.Equal(t, 403, status(t, s, "127.9.1.1"))
	assert.Equal(t, 200, status(t, s, "127.7.1.1"))
	assert.Less(t, length(), 540, "what was appended is gone")
}

func TestTheKillSwitchDoesNotWaitForABulkLoad(t *testing.T) {
	s, target := enforcing(t)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(1, targettest.Attacker)}, nil))
	begun, released := make(chan struct{}, 1), make(chan struct{})
	held := newTarget(t, s, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.URL.Path == maps+"offpath-verdicts" {
			begun <- struct{}{}
			<-released
		}
		s.API.ServeHTTP(w, r)
	})))
	many := []mitigate.Entry{entry(1, targettest.Attacker)}
	for i := range 500 {
		many = append(many, entry(mitigate.ID(i+10), fmt.Sprintf("127.9.%d.%d", i>>8, i&255)))
	}
	done := make(chan error, 1)
	go func() {
		_, err := held.Sync(context.Background(), many)
		done <- err
	}()
	<-begun
	require.NoError(t, held.SetMode(t.Context(), detect.ModeOff, false))
	assert.Equal(t, 200, status(t, s, targettest.Attacker))
	close(released)
	require.NoError(t, <-done)
	assert.Equal(t, 200, status(t, s, "127.9.1.1"))
}

func TestADeceivedClientGetsTheSitesOwnAnswer(t *testing.T) {
	setup := proxied
	setup.Deception = &haproxy.Deception{Status: 401}
	s := dataplanetest.Start(t, setup, 3)
	target, err := dataplane.New(dataplane.Options{
		Address: s.Address, User: dataplanetest.User, Password: password, MapDir: s.MapDir, Deceives: true,
	})
	require.NoError(t, err)
	require.NoError(t, target.Prepared(t.Context()))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	address, network, program := entry(1, targettest.Attacker), entry(2, "127.7.0.0/16"), entry(3, targettest.Attacker)
	program.Subject = detect.Subject{Fingerprint: targettest.CrackerCore}
	watched := entry(4, targettest.Customer)
	watched.Monitor = true
	all := []mitigate.Entry{address, network, program, watched}
	for i := range all {
		all[i].Action = detect.ActionDeceive
		require.NoError(t, target.Carries(&all[i]))
	}
	require.NoError(t, target.Apply(t.Context(), all, nil))
	served := s.Served()
	got := func(client string, headers ...string) string {
		a := s.Get(client, "/", headers...)
		return fmt.Sprintf("%d %s", a.Status, a.Marker)
	}
	assert.Equal(t, "401 "+address.ID.String(), got(targettest.Attacker))
	assert.Equal(t, "401 "+network.ID.String(), got("127.7.8.9"))
	assert.Equal(t, "401 "+program.ID.String(), got(targettest.Customer, targettest.Cracker...), "one that only watches the address hides it not")
	assert.Equal(t, served, s.Served(), "the backend sees nothing of it")
	assert.Equal(t, "200 ", got(targettest.Customer))
	require.NoError(t, target.SetMode(t.Context(), detect.ModeMonitor, false))
	assert.Equal(t, "200 ", got(targettest.Attacker))

	plain, _ := enforcing(t)
	undeceiving, err := dataplane.New(dataplane.Options{
		Address: plain.Address, User: dataplanetest.User, Password: password, MapDir: plain.MapDir, Deceives: true,
	})
	require.NoError(t, err)
	assert.ErrorContains(t, undeceiving.Prepared(t.Context()), "no table offpath_deception")
}

func TestANetworkThatAWiderOneKeptOutIsInForceWhenThatIsOver(t *testing.T) {
	t.Parallel()
	s, target := enforcing(t)
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{target}, Mode: detect.ModeEnforce, CompareInterval: time.Hour})
	why := func() string { return c.Targets()[0].LastError }
	targettest.Eventually(t, func() bool { s := c.Targets()[0]; return s.Connected && s.Mode == detect.ModeEnforce }, why)
	wide, narrow := targettest.Block(1, "127.7.8.0/24"), targettest.Block(2, "127.7.8.0/26")
	wide.Expires = time.Now().Add(10 * time.Second).UnixNano()
	require.NoError(t, c.Apply(wide))
	require.NoError(t, c.Apply(narrow))
	targettest.Eventually(t, func() bool { return c.Targets()[0].Rejected == 1 }, why)
	targettest.Eventually(t, func() bool { v, _ := c.Verdict(narrow.ID); return v.Targets[0].State == controller.StateInForce }, why)
	assert.GreaterOrEqual(t, time.Now().UnixNano(), wide.Expires)
	assert.Equal(t, 403, s.Get("127.7.8.9", "/").Status)
}
