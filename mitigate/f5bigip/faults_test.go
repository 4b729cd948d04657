package f5bigip_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	gosync "sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/f5bigip"
	"offpath/mitigate/internal/f5bigiptest"
)

// node is iControl REST alone, at an address.
func node(t testing.TB, wrap func(http.Handler) http.Handler) (*f5bigiptest.API, string) {
	t.Helper()
	c, err := proxied.Render()
	require.NoError(t, err)
	api := f5bigiptest.NewAPI(c.Groups, "/Common/offpath", c.Rule)
	var handler http.Handler = api
	if wrap != nil {
		handler = wrap(api)
	}
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return api, s.URL
}

func TestATokenServesUntilItEndsAndIsAskedForAnewWhenForgotten(t *testing.T) {
	api, address := node(t, nil)
	target := newTarget(t, address)
	for range 5 {
		apply(t, target, entry(1, "198.51.100.7"))
	}
	var wg gosync.WaitGroup
	for range 8 {
		wg.Go(func() { _, _, err := target.Mode(context.Background()); assert.NoError(t, err) })
	}
	wg.Wait()
	assert.Equal(t, 1, api.Logins())
	api.RestartREST()
	for range 8 {
		wg.Go(func() { _, _, err := target.Mode(context.Background()); assert.NoError(t, err) })
	}
	wg.Wait()
	assert.Equal(t, 2, api.Logins(), "eight that were refused ask for one new token")

	short, address := node(t, nil)
	short.TokenLife = time.Second
	target = newTarget(t, address)
	require.Eventually(t, func() bool {
		_, err := target.Identity(t.Context())
		return assert.NoError(t, err) && short.Logins() > 1
	}, 10*time.Second, 50*time.Millisecond)
}

func TestAPasswordThatWasRefusedIsNotTriedAtOnceAgain(t *testing.T) {
	api, address := node(t, nil)
	target := newTarget(t, address, func(o *f5bigip.Options) {
		o.Password = func() ([]byte, error) { return []byte("wrong"), nil }
	})
	for range 5 {
		_, err := target.Identity(t.Context())
		require.ErrorContains(t, err, "login of offpath")
	}
	assert.Equal(t, 1, api.Logins())
}

func TestAUserWithoutRightsDoesNotUseUpTheTokens(t *testing.T) {
	api, address := node(t, nil)
	api.ReadOnly = true
	target := newTarget(t, address)
	for range 5 {
		require.ErrorContains(t, target.Apply(t.Context(), []mitigate.Entry{entry(1, "198.51.100.7")}, nil), "Authorization failed")
		_, _, err := target.Mode(t.Context())
		require.NoError(t, err, "what it may do goes on")
	}
	assert.Equal(t, 2, api.Logins())
}

func TestTooManyTokensIsSaid(t *testing.T) {
	api, address := node(t, nil)
	api.MaxTokens = 0
	_, err := newTarget(t, address).Identity(t.Context())
	require.ErrorContains(t, err, "maximum active login tokens")
}

func TestATransactionThatTakesTooLongLeavesNothingBehind(t *testing.T) {
	api, address := node(t, nil)
	api.TransactionLife = 20 * time.Millisecond
	api.Delay = 30 * time.Millisecond
	target := newTarget(t, address)
	require.Error(t, target.Apply(t.Context(), []mitigate.Entry{entry(1, "198.51.100.7")}, nil))
	assert.Empty(t, api.Records("offpath_addresses"))
	api.TransactionLife = time.Minute
	apply(t, target, entry(1, "198.51.100.7"), entry(2, "198.51.0.0/24"))
	assert.Len(t, api.Records("offpath_addresses"), 1)
	assert.Zero(t, api.Open())
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	c, err := proxied.Render()
	require.NoError(t, err)
	for name, api := range map[string]*f5bigiptest.API{
		"data groups":        f5bigiptest.NewAPI("", "/Common/offpath", c.Rule),
		"the iRule":          f5bigiptest.NewAPI(c.Groups, "/Common/other", c.Rule),
		"this iRule":         f5bigiptest.NewAPI(c.Groups, "/Common/offpath", "when HTTP_REQUEST {}"),
		"another data group": f5bigiptest.NewAPI("tmsh create ltm data-group internal /Common/offpath_addresses type string\n", "/Common/offpath", c.Rule),
	} {
		s := httptest.NewServer(api)
		t.Cleanup(s.Close)
		target := newTarget(t, s.URL)
		require.ErrorIs(t, target.Prepared(t.Context()), f5bigip.ErrNotPrepared, name)
		_, err := target.Sync(t.Context(), nil)
		require.ErrorIs(t, err, f5bigip.ErrNotPrepared, name)
	}
}

// faulty does to requests what networks and restarts do: before or after they are carried
// out.
type faulty struct {
	next http.Handler
	mu   gosync.Mutex
	rand *rand.Rand
	on   bool
}

func (f *faulty) set(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = on
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	fault := -1
	if f.on {
		fault = f.rand.IntN(40)
	}
	f.mu.Unlock()
	answer := httptest.NewRecorder()
	switch fault {
	case 0: // lost on its way
		panic(http.ErrAbortHandler)
	case 1: // the answer is lost
		f.next.ServeHTTP(answer, r)
		panic(http.ErrAbortHandler)
	case 2:
		http.Error(w, "<html>", http.StatusServiceUnavailable)
	case 3: // the answer is cut short
		f.next.ServeHTTP(answer, r)
		w.Header().Set("Content-Length", fmt.Sprint(answer.Body.Len()))
		_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
		panic(http.ErrAbortHandler)
	case 4: // the answer is another's
		f.next.ServeHTTP(answer, r)
		_, _ = w.Write([]byte(`{"kind":"tm:sys:other"}`))
	case 5:
		time.Sleep(5 * time.Millisecond)
		f.next.ServeHTTP(w, r)
	default:
		f.next.ServeHTTP(w, r)
	}
}

// records are the values that data groups are to hold, by name.
func records(wanted map[detect.Subject]mitigate.Entry) map[string]string {
	list := map[string]string{}
	for s, e := range wanted {
		list[s.Client.String()] = fmt.Sprintf("e:block:%d:%s", e.Expires, e.ID)
	}
	return list
}

func held(api *f5bigiptest.API) map[string]string {
	list := maps.Clone(api.Records("offpath_addresses"))
	maps.Copy(list, api.Records("offpath_networks"))
	return list
}

func TestAfterFaultsTheDataGroupsHoldExactlyWhatIsWanted(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 7))
		f := &faulty{rand: rand.New(rand.NewPCG(seed, 8))}
		api, address := node(t, func(next http.Handler) http.Handler { f.next = next; return f })
		target := newTarget(t, address)
		wanted := map[detect.Subject]mitigate.Entry{}
		all := func() (list []mitigate.Entry) {
			for _, e := range wanted {
				list = append(list, e)
			}
			return list
		}
		f.set(true)
		broken, last, done := true, "", 0 // as the controller does: after a failure all is compared
		for step := range uint32(40) {
			client := fmt.Sprintf("192.0.2.%d", random.IntN(12))
			if random.IntN(4) == 0 {
				client = fmt.Sprintf("198.51.%d.0/24", random.IntN(3))
			}
			e := entry(step+1, client)
			e.Expires += int64(step)
			if identity, err := target.Identity(t.Context()); err != nil || identity.Process != last {
				broken, last = true, identity.Process
			}
			var err error
			if random.IntN(3) == 0 {
				delete(wanted, e.Subject)
				if !broken {
					err = target.Apply(t.Context(), nil, []detect.Subject{e.Subject})
				}
			} else {
				wanted[e.Subject] = e
				if !broken {
					err = target.Apply(t.Context(), []mitigate.Entry{e}, nil)
				}
			}
			if broken {
				_, err = target.Sync(t.Context(), all())
			}
			broken = err != nil
			if !broken {
				done++
				require.Equal(t, records(wanted), held(api), "seed %d, step %d", seed, step)
			}
			switch random.IntN(15) {
			case 0:
				api.Reboot()
			case 1:
				api.RestartREST()
			}
		}
		f.set(false)
		_, err := target.Sync(t.Context(), all())
		require.NoError(t, err)
		require.Equal(t, records(wanted), held(api), "seed %d", seed)
		assert.Greater(t, done, 3)
	}
}
