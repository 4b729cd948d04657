package nginxplus_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/nginxplustest"
	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/nginxplus"
)

// These tests look at what the API is told, and at what follows from its answers.

const description = "../../../shared/facts/nginx-plus-api-v9.yaml"

// node is the API alone, with the printed configuration.
func node(t testing.TB, change ...func(string) string) *nginxplustest.API {
	t.Helper()
	config, err := proxied.Render()
	require.NoError(t, err)
	for _, f := range change {
		config.HTTP = f(config.HTTP)
	}
	for _, folder := range []string{"/var/lib/nginx/state"} {
		config.HTTP = strings.ReplaceAll(config.HTTP, folder, t.TempDir())
	}
	return nginxplustest.NewAPI(config.HTTP)
}

func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// order does what a person does with curl.
func order(t testing.TB, address, method, zone, body string, status int) {
	t.Helper()
	request, err := http.NewRequest(method, address+"/api/9/http/keyvals/"+zone, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, status, response.StatusCode, "%s", text)
}

func TestEveryRequestAndAnswerFitsTheVendorsDescription(t *testing.T) {
	api := node(t)
	contract := nginxplustest.NewContract(t, description, api)
	address := serve(t, contract)
	target := newTarget(t, address)
	ctx := t.Context()
	_, err := target.Identity(ctx)
	require.NoError(t, err)
	require.NoError(t, target.Prepared(ctx))
	require.NoError(t, target.SetMode(ctx, detect.ModeEnforce, true))
	require.NoError(t, target.SetAllow(ctx, proxied.TrustedProxies))
	require.NoError(t, target.SetAllow(ctx, nil))
	entries := []mitigate.Entry{entry(1, "192.0.2.1"), entry(2, "192.0.2.2"), entry(3, "198.51.100.0/24"), entry(4, "2001:db8::/64")}
	for _, held := range [][]mitigate.Entry{entries, entries[1:], entries[:3]} {
		_, err = target.Sync(ctx, held)
		require.NoError(t, err)
	}
	require.NoError(t, target.Apply(ctx, entries, []detect.Subject{entry(0, "192.0.2.9").Subject}))
	_, _, err = target.Mode(ctx)
	require.NoError(t, err)
	require.NoError(t, target.Sweep(ctx))
	hits, err := target.Hits(ctx)
	require.NoError(t, err)
	assert.Empty(t, hits)

	other := newTarget(t, address, func(o *nginxplus.Options) { o.Rates = []detect.Rate{rate(5, time.Second)} })
	assert.ErrorIs(t, other.Prepared(ctx), nginxplus.ErrNotPrepared)
	api.ReadOnly = true
	assert.ErrorContains(t, target.SetMode(ctx, detect.ModeOff, false), "MethodDisabled")

	breaches, judged := contract.Breaches()
	assert.Empty(t, breaches)
	assert.Greater(t, judged, 40)

	t.Run("and one that does not is noticed", func(t *testing.T) {
		order(t, address, "PUT", "offpath_mode", `{}`, 405)
		order(t, address, "PATCH", "offpath_mode", `[]`, 405)
		breaches, _ := contract.Breaches()
		assert.Len(t, breaches, 2)
	})
}

func TestEmptyZoneIsFilledByOneRequestAndOthersRecordByRecord(t *testing.T) {
	api := node(t)
	target := newTarget(t, serve(t, api))
	var entries []mitigate.Entry
	for i := range uint32(5000) {
		entries = append(entries, entry(i+1, fmt.Sprintf("10.0.%d.%d", i>>8, i&255)))
	}
	_, err := target.Sync(t.Context(), entries)
	require.NoError(t, err)
	assert.Len(t, api.Records("offpath_addresses"), 5000)
	assert.Equal(t, 1, api.Requests("POST"))

	entries[7].Expires++
	report, err := target.Sync(t.Context(), entries)
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: 5000, Compared: true, Set: 1}, report)
	apply(t, target, entries[:20]...)
	assert.Len(t, api.Records("offpath_addresses"), 5000)
	assert.Equal(t, 1+1+1+20, api.Requests("POST"), "one that is refused since the zone is not empty, then each")
}

func TestRecordsAreWrittenWithTheTimeThatTheyHaveLeft(t *testing.T) {
	api := node(t)
	target := newTarget(t, serve(t, api))
	soon, over, network := entry(1, "192.0.2.1"), entry(2, "192.0.2.2"), entry(3, "198.51.100.0/24")
	soon.Expires = time.Now().Unix() + 2
	network.Expires, over.Expires = soon.Expires, time.Now().Unix()-100
	apply(t, target, soon, over, network)
	assert.Eventually(t, func() bool {
		return len(api.Records("offpath_addresses"))+len(api.Records("offpath_networks")) == 0
	}, targettest.Wait, 20*time.Millisecond)
	assert.GreaterOrEqual(t, time.Now().Unix(), soon.Expires)
}

func TestSyncMendsWhateverItHolds(t *testing.T) {
	api := node(t)
	address := serve(t, api)
	target := newTarget(t, address)
	missing, wrong, extra, same := entry(1, "192.0.2.1"), entry(2, "192.0.2.2"), entry(3, "192.0.2.3"), entry(4, "192.0.2.4")
	network, extraNetwork := entry(5, "198.51.100.0/24"), entry(6, "203.0.113.0/24")
	other := wrong
	other.Expires -= 100
	apply(t, target, other, extra, same, extraNetwork)
	order(t, address, "POST", "offpath_addresses", `{"192.0.2.77":"what is this"}`, 201)
	order(t, address, "POST", "offpath_networks", `{"192.0.2.0/26":"block"}`, 201)

	fresh := newTarget(t, address)
	wanted := []mitigate.Entry{missing, wrong, same, network}
	report, err := fresh.Sync(t.Context(), wanted)
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: 4 + 2, Compared: true, Set: 2 + 1, Removed: 2 + 2}, report)
	report, err = fresh.Sync(t.Context(), wanted)
	require.NoError(t, err)
	assert.Equal(t, mitigate.SyncReport{Held: 4, Compared: true}, report, "nothing left to mend; what was removed does not count")
	assert.Eventually(t, func() bool {
		return len(api.Records("offpath_addresses")) == 3 && len(api.Records("offpath_networks")) == 1
	}, targettest.Wait, 20*time.Millisecond, "what was removed is gone after a second")
}

func TestRemovalsReachNodesThatShareTheZones(t *testing.T) {
	shared := func(config string) string { return strings.ReplaceAll(config, " timeout=25h", " timeout=25h sync") }
	one, two := node(t, shared), node(t, shared)
	one.Peers = []*nginxplustest.API{two}
	target := newTarget(t, serve(t, one))
	e, network := entry(1, "192.0.2.1"), entry(2, "198.51.100.0/24")
	apply(t, target, e, network)
	assert.Equal(t, one.Records("offpath_addresses"), two.Records("offpath_addresses"))
	require.Len(t, two.Records("offpath_addresses"), 1)
	require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{e.Subject, network.Subject}))
	for _, zone := range []string{"offpath_addresses", "offpath_networks"} {
		for _, value := range two.Records(zone) {
			assert.Equal(t, "-", value, "it says nothing")
		}
		assert.Eventually(t, func() bool { return len(two.Records(zone)) == 0 }, targettest.Wait, 20*time.Millisecond, "and is gone")
	}
}

func TestNetworksNeverOverlap(t *testing.T) {
	api := node(t)
	target := newTarget(t, serve(t, api), func(o *nginxplus.Options) { o.MaxNetworks = 3 })
	wide, narrow := entry(1, "198.51.100.0/24"), entry(2, "198.51.100.128/25")
	watched := entry(3, "198.51.100.0/26")
	watched.Monitor = true
	held := func() (keys []string) {
		for key, value := range api.Records("offpath_networks") {
			if value != "-" {
				keys = append(keys, key)
			}
		}
		return keys
	}
	rejected := func(err error, ids ...mitigate.ID) {
		t.Helper()
		var got []mitigate.ID
		var r *mitigate.RejectedError
		require.ErrorAs(t, err, &r)
		for _, rejection := range r.Rejections {
			got = append(got, rejection.ID)
		}
		assert.ElementsMatch(t, ids, got, "%v", err)
	}
	apply(t, target, watched, narrow)
	assert.ElementsMatch(t, []string{"198.51.100.0/26", "198.51.100.128/25"}, held())
	rejected(target.Apply(t.Context(), []mitigate.Entry{wide}, nil), watched.ID, narrow.ID)
	assert.Equal(t, []string{"198.51.100.0/24"}, held(), "the wider of two that are enforced")
	_, err := newTarget(t, serve(t, api)).Sync(t.Context(), []mitigate.Entry{watched, narrow, wide})
	rejected(err, watched.ID, narrow.ID)

	wide.Monitor = true
	_, err = target.Sync(t.Context(), []mitigate.Entry{watched, narrow, wide})
	rejected(err, wide.ID)
	assert.ElementsMatch(t, []string{"198.51.100.0/26", "198.51.100.128/25"}, held(), "one that only watches hides none that is enforced")

	more := []mitigate.Entry{entry(4, "192.0.2.0/25"), entry(5, "192.0.2.128/25")}
	more[0].Expires--
	rejected(target.Apply(t.Context(), more, nil), watched.ID)
	assert.ElementsMatch(t, []string{"198.51.100.128/25", "192.0.2.0/25", "192.0.2.128/25"}, held(), "what only watches makes room")
}

func TestFullZoneRejectsWhatHasNoRoomAndForgetsNothing(t *testing.T) {
	api := node(t)
	api.Room = 3
	target := newTarget(t, serve(t, api))
	var entries []mitigate.Entry
	for i := range uint32(8) {
		entries = append(entries, entry(i+1, fmt.Sprintf("192.0.2.%d", i+1)))
	}
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, target.Apply(t.Context(), entries, nil), &rejected)
	assert.Len(t, rejected.Rejections, 5)
	assert.Len(t, api.Records("offpath_addresses"), 3)
	for _, r := range rejected.Rejections {
		assert.Contains(t, r.Answer, "no memory")
	}
}

func TestRestartAndReloadAreNoticed(t *testing.T) {
	api := node(t)
	target := newTarget(t, serve(t, api))
	identity := func() mitigate.Identity {
		i, err := target.Identity(t.Context())
		require.NoError(t, err)
		return i
	}
	first := identity()
	assert.Equal(t, first, identity())
	assert.Equal(t, "1.29.8 nginx-plus-r37", first.Version)
	assert.InDelta(t, 0, first.Skew, 1)
	api.Reload()
	second := identity()
	api.Restart()
	assert.NotEqual(t, first.Process, second.Process)
	assert.NotEqual(t, second.Process, identity().Process)
	assert.NotEqual(t, first.Process, identity().Process)
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	for zone, text := range map[string]string{
		"offpath_addresses": "KeyvalNotFound", "offpath_mode": "KeyvalNotFound", "offpath_setup_1": "KeyvalNotFound", "offpath_rate_1per10": "LimitReqNotFound",
	} {
		api := node(t, func(config string) string { return strings.ReplaceAll(config, "zone="+zone, "zone=other") })
		target := newTarget(t, serve(t, api))
		for _, err := range []error{target.Prepared(t.Context()), sync(t, target)} {
			assert.ErrorIs(t, err, nginxplus.ErrNotPrepared, zone)
			assert.ErrorContains(t, err, text, zone)
		}
	}
}

func TestTheAPIMayWantAPasswordAndHaveACertificateOfItsOwn(t *testing.T) {
	api := node(t)
	api.Password = "secret"
	server := httptest.NewTLSServer(api)
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	given := func(password string, ca string) *nginxplus.Target {
		return newTarget(t, server.URL, func(o *nginxplus.Options) {
			o.CA, o.User = ca, "offpath"
			o.Password = func() ([]byte, error) {
				if password == "" {
					return nil, errors.New("no such file")
				}
				return []byte(password), nil
			}
		})
	}
	assert.ErrorContains(t, sync(t, given("secret", "")), "certificate")
	late := given("secret", ca)
	assert.ErrorContains(t, sync(t, late), "read ca")
	require.NoError(t, os.WriteFile(ca, []byte("nothing"), 0o600))
	assert.ErrorContains(t, sync(t, late), "holds no certificate")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	assert.NoError(t, sync(t, late))
	assert.ErrorContains(t, sync(t, given("wrong", ca)), "answered 401")
	assert.ErrorContains(t, sync(t, given("", ca)), "no such file")
	_, err := nginxplus.New(nginxplus.Options{Address: server.URL, User: "offpath"})
	assert.ErrorContains(t, err, "only together")
}

func sync(t testing.TB, target *nginxplus.Target) error {
	_, err := target.Sync(t.Context(), nil)
	return err
}

func TestAnswersThatAreNoneAreErrors(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"a redirect":    func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"a page":        func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>") },
		"an error page": func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusBadGateway) },
		"a list":        func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "[]") },
		"half an answer": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "9")
			fmt.Fprint(w, "{}")
		},
		"a connection cut off": func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
		"none in time":         func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"without end": func(w http.ResponseWriter, r *http.Request) {
			for space := strings.Repeat(" ", 1<<20); r.Context().Err() == nil; {
				if _, err := io.WriteString(w, space); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			target := newTarget(t, serve(t, h), func(o *nginxplus.Options) { o.Timeout = 300 * time.Millisecond })
			_, err := target.Identity(t.Context())
			assert.Error(t, err)
			_, _, err = target.Mode(t.Context())
			assert.Error(t, err)
			assert.Error(t, target.SetAllow(t.Context(), nil))
			assert.Error(t, sync(t, target))
		})
	}
	target := newTarget(t, serve(t, node(t)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, target.Apply(ctx, []mitigate.Entry{entry(1, "192.0.2.1")}, nil), context.Canceled)
}
