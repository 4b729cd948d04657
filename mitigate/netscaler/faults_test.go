package netscaler_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/netscalertest"
	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/netscaler"
)

// node is NITRO alone, at an address.
func node(t testing.TB, wrap func(http.Handler) http.Handler) (*netscalertest.API, string) {
	t.Helper()
	c, err := netscaler.Setup{}.Render()
	require.NoError(t, err)
	api, err := netscalertest.NewAPI(c.Commands)
	require.NoError(t, err)
	var handler http.Handler = api
	if wrap != nil {
		handler = wrap(api)
	}
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return api, s.URL
}

func TestASessionServesUntilItEndsAndIsAskedForAnew(t *testing.T) {
	api, address := node(t, nil)
	target := newTarget(t, address)
	for range 5 {
		apply(t, target, entry(1, "198.51.100.7"))
	}
	assert.Equal(t, 1, api.Logins())
	api.EndSessions()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { _, _, err := target.Mode(context.Background()); assert.NoError(t, err) })
	}
	wg.Wait()
	assert.Equal(t, 2, api.Logins(), "eight that were refused ask for one new session")
}

func TestAPasswordThatWasRefusedIsNotTriedAtOnceAgain(t *testing.T) {
	api, address := node(t, nil)
	target := newTarget(t, address, func(o *netscaler.Options) {
		o.Password = func() ([]byte, error) { return []byte("wrong"), nil }
	})
	for range 5 {
		_, err := target.Identity(t.Context())
		require.ErrorContains(t, err, "login of offpath")
	}
	assert.Equal(t, 1, api.Logins())
}

func TestTooManySessionsAndAConfigurationThatIsNotSavedAreSaid(t *testing.T) {
	api, address := node(t, nil)
	api.MaxSessions = 0
	_, err := newTarget(t, address).Identity(t.Context())
	require.ErrorContains(t, err, "Connection limit to CFE exceeded")
	api.MaxSessions = 1
	api.RefuseSave = true
	target := newTarget(t, address)
	require.ErrorContains(t, target.SetMode(t.Context(), detect.ModeOff, false), "in force, and not saved")
	assert.Equal(t, "off", api.Values("offpath_mode")["mode"])
}

func TestOneThatIsRefusedOfAListIsAnErrorAndTheOthersAreInForce(t *testing.T) {
	api, address := node(t, nil)
	target := newTarget(t, address)
	api.Refuse = map[string]bool{"198.51.100.2": true}
	set := []mitigate.Entry{entry(1, "198.51.100.1"), entry(2, "198.51.100.2"), entry(3, "198.51.100.3")}
	require.ErrorContains(t, target.Apply(t.Context(), set, nil), "Invalid argument value")
	assert.Len(t, api.Values("offpath_verdicts"), 2)
	api.Refuse = nil
	_, err := target.Sync(t.Context(), set)
	require.NoError(t, err)
	assert.Len(t, api.Values("offpath_verdicts"), 3)
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	for name, commands := range map[string]string{
		"all":              "",
		"another version":  `add policy stringmap offpath_verdicts -comment "offpath setup 0"`,
		"all but the maps": `add responder policylabel offpath_refuse4`,
	} {
		api, err := netscalertest.NewAPI(commands)
		require.NoError(t, err)
		s := httptest.NewServer(api)
		t.Cleanup(s.Close)
		target := newTarget(t, s.URL)
		require.ErrorIs(t, target.Prepared(t.Context()), netscaler.ErrNotPrepared, name)
		_, err = target.Sync(t.Context(), nil)
		require.ErrorIs(t, err, netscaler.ErrNotPrepared, name)
	}
}

// faulty does to requests what networks and restarts do: before or after they are carried
// out.
type faulty struct {
	next http.Handler
	mu   sync.Mutex
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
		fault = f.rand.IntN(60)
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

// records are the values that the string map is to hold, by key.
func records(wanted map[detect.Subject]mitigate.Entry) map[string]string {
	list := map[string]string{}
	for s, e := range wanted {
		key := s.Client.String()
		if s.Client.IsSingleIP() {
			key = s.Client.Addr().String()
		}
		list[key] = fmt.Sprintf("e:block:%d:%s", e.Expires, e.ID)
	}
	return list
}

// live is what the string map holds of verdicts that were not lifted.
func live(api *netscalertest.API) map[string]string {
	list := maps.Clone(api.Values("offpath_verdicts"))
	maps.DeleteFunc(list, func(_, value string) bool { return value == "-" })
	return list
}

func TestAfterFaultsTheStringMapHoldsExactlyWhatIsWanted(t *testing.T) {
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
				require.Equal(t, records(wanted), live(api), "seed %d, step %d", seed, step)
			}
			switch random.IntN(15) {
			case 0:
				api.Reboot()
			case 1:
				api.EndSessions()
			case 2:
				broken = target.Sweep(t.Context()) != nil || broken
			}
		}
		f.set(false)
		_, err := target.Sync(t.Context(), all())
		require.NoError(t, err)
		require.NoError(t, target.Sweep(t.Context()))
		require.Equal(t, records(wanted), api.Values("offpath_verdicts"), "seed %d", seed)
		assert.Greater(t, done, 3)
	}
}

func TestNoVerdictWaitsForASweepAndNoOrderBeyondItsTime(t *testing.T) {
	sweeping, more := make(chan struct{}), make(chan struct{})
	_, address := node(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete {
				select {
				case sweeping <- struct{}{}:
					<-more
				default:
				}
			}
			next.ServeHTTP(w, r)
		})
	})
	target := newTarget(t, address)
	var set []mitigate.Entry
	var gone []detect.Subject
	for i := range uint32(50) {
		e := entry(i+1, fmt.Sprintf("203.0.113.%d", i))
		set = append(set, e)
		gone = append(gone, e.Subject)
	}
	require.NoError(t, target.Apply(t.Context(), set, nil))
	require.NoError(t, target.Apply(t.Context(), nil, gone))
	swept := make(chan error, 1)
	go func() { swept <- target.Sweep(t.Context()) }()
	<-sweeping
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, target.Apply(ctx, []mitigate.Entry{entry(98, "198.51.100.1")}, nil), context.DeadlineExceeded)
	applied := make(chan error, 1)
	go func() { applied <- target.Apply(t.Context(), []mitigate.Entry{entry(99, "198.51.100.1")}, nil) }()
	more <- struct{}{}
	<-sweeping // it goes on
	select {
	case err := <-applied:
		require.NoError(t, err)
	case <-time.After(targettest.Wait):
		assert.Fail(t, "it waits for the whole sweep")
	}
	close(more)
	for {
		select {
		case <-sweeping:
		case err := <-swept:
			require.NoError(t, err)
			return
		}
	}
}

func TestNoOrderWaitsForTheLoginOfAnotherBeyondItsTime(t *testing.T) {
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-answer
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	target := newTarget(t, server.URL, func(o *netscaler.Options) { o.Timeout = time.Hour })
	failed, late := make(chan error, 1), make(chan error, 1)
	go func() { _, err := target.Identity(t.Context()); failed <- err }()
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	go func() { late <- target.SetMode(ctx, detect.ModeOff, false) }()
	select {
	case err := <-late:
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	case <-time.After(targettest.Wait):
		assert.Fail(t, "it waits for the other")
	}
	close(answer)
	assert.Error(t, <-failed)
}
