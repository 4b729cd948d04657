package dataplane_test

import (
	"fmt"
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
	"offpath/mitigate/dataplane"
	"offpath/mitigate/internal/dataplanetest"
	"offpath/mitigate/internal/targettest"
)

// faulty does to requests what networks and restarts do: before or after they are carried
// out.
type faulty struct {
	next http.Handler
	mu   gosync.Mutex
	rand *rand.Rand
	on   bool
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	fault := -1
	if f.on {
		fault = f.rand.IntN(40)
	}
	f.mu.Unlock()
	switch fault {
	case 0: // lost on its way
		panic(http.ErrAbortHandler)
	case 1: // the answer is lost
		f.next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case 2:
		http.Error(w, "<html>", http.StatusBadGateway)
	case 3: // somebody else answers, and nothing is done
		fmt.Fprint(w, "<html>")
	case 4: // half of the answer
		recorder := httptest.NewRecorder()
		f.next.ServeHTTP(recorder, r)
		body := recorder.Body.Bytes()
		w.Header().Set("Content-Length", fmt.Sprint(len(body)+1))
		w.WriteHeader(recorder.Code)
		w.Write(body[:len(body)/2])
		panic(http.ErrAbortHandler)
	case 5:
		time.Sleep(20 * time.Millisecond)
		f.next.ServeHTTP(w, r)
	default:
		f.next.ServeHTTP(w, r)
	}
}

func (f *faulty) set(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = on
}

// records are the ids that the maps are to hold, and those they do.
func records(wanted map[detect.Subject]mitigate.Entry) (ids []string) {
	for _, e := range wanted {
		ids = append(ids, fmt.Sprintf("1:%d:0:%s", e.Expires, e.ID))
	}
	return ids
}

func held(t testing.TB, s *dataplanetest.Server) (ids []string) {
	for _, name := range []string{"offpath-verdicts", "offpath-networks"} {
		for key, value := range s.Held(t, name) {
			if !dataplane.IsPad(key) && key != "shapes" {
				ids = append(ids, value)
			}
		}
	}
	return ids
}

func TestAfterFaultsTheMapsHoldExactlyWhatIsWanted(t *testing.T) {
	s := dataplanetest.Start(t, proxied, 3)
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 7))
		f := &faulty{next: s.API, rand: rand.New(rand.NewPCG(seed, 8))}
		target := newTarget(t, s, serve(t, f))
		wanted := map[detect.Subject]mitigate.Entry{}
		all := func() (list []mitigate.Entry) {
			for _, e := range wanted {
				list = append(list, e)
			}
			return list
		}
		next := mitigate.ID(0)
		draw := func() mitigate.Entry {
			next++
			client := fmt.Sprintf("192.0.2.%d", random.IntN(12))
			switch random.IntN(6) {
			case 0:
				client = fmt.Sprintf("198.51.%d.0/24", random.IntN(3))
			case 1:
				client = fmt.Sprintf("2001:db8:%x::/48", random.IntN(3))
			}
			e := entry(next, client)
			e.Expires += int64(next)
			if random.IntN(5) == 0 {
				e.Subject = detect.Subject{Domain: fmt.Sprintf("%d.example", random.IntN(4))}
			}
			return e
		}
		f.set(true)
		broken := true // as the controller does: after a failure all is compared
		for step := range 60 {
			var set []mitigate.Entry
			var gone []detect.Subject
			switch random.IntN(8) {
			case 0, 1, 2:
				e := draw()
				delete(wanted, e.Subject)
				gone = append(gone, e.Subject)
			case 3: // more than are written one by one
				for i := range 130 {
					next++
					set = append(set, entry(next, fmt.Sprintf("203.0.113.%d", i)))
				}
			case 4:
				for i := range 130 {
					gone = append(gone, entry(1, fmt.Sprintf("203.0.113.%d", i)).Subject)
				}
			default:
				set = append(set, draw())
			}
			for _, e := range set {
				wanted[e.Subject] = e
			}
			for _, subject := range gone {
				delete(wanted, subject)
			}
			var err error
			if broken {
				_, err = target.Sync(t.Context(), all())
			} else {
				err = target.Apply(t.Context(), set, gone)
			}
			broken = err != nil
			switch random.IntN(20) { // nothing of which is a reason to compare
			case 0:
				s.Reload()
			case 1:
				s.Down()
				s.Up()
			}
			if !broken {
				require.ElementsMatch(t, records(wanted), held(t, s), "seed %d, step %d", seed, step)
			}
		}
		f.set(false)
		_, err := target.Sync(t.Context(), all())
		require.NoError(t, err)
		require.ElementsMatch(t, records(wanted), held(t, s), "seed %d", seed)
		report, err := target.Sync(t.Context(), all())
		require.NoError(t, err)
		require.Equal(t, mitigate.SyncReport{Compared: true, Held: len(wanted)}, report)
	}
}

func TestNothingIsSaidToBeInForceWhileTheAPIFails(t *testing.T) {
	s, _ := enforcing(t)
	f := &faulty{next: s.API, rand: rand.New(rand.NewPCG(1, 1))}
	target := newTarget(t, s, serve(t, f))
	_, err := target.Identity(t.Context())
	require.NoError(t, err)
	f.set(true)
	said := 0
	for i := range 60 {
		e := entry(mitigate.ID(i+1), fmt.Sprintf("127.8.0.%d", i+1))
		if target.Apply(t.Context(), []mitigate.Entry{e}, nil) == nil {
			said++
			assert.Equal(t, 403, status(t, s, e.Subject.Client.Addr().String()))
		}
		if target.SetMode(t.Context(), detect.ModeOff, false) == nil {
			assert.Equal(t, 200, status(t, s, e.Subject.Client.Addr().String()))
		}
		f.set(false)
		require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
		f.set(true)
	}
	assert.Greater(t, said, 10)
	assert.Less(t, said, 60)
}

// It answers so when it can't reach HAProxy.
func TestAnOffThatTheAPIDoesNotFindAndThatIsThereIsNotEnded(t *testing.T) {
	s, _ := enforcing(t)
	address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			http.Error(w, `{"code":404,"message":"not found"}`, http.StatusNotFound)
			return
		}
		s.API.ServeHTTP(w, r)
	}))
	require.Equal(t, 201, call(t, s, "POST", maps+"offpath-mode/entries?force_sync=true", `{"key":"off","value":"1"}`))
	assert.ErrorContains(t, newTarget(t, s, address).SetMode(t.Context(), detect.ModeEnforce, true), "can't reach HAProxy")
	assert.NoError(t, newTarget(t, s, serve(t, s.API)).SetMode(t.Context(), detect.ModeEnforce, true))
}

func TestAnAnswerThatNeverComesEndsWithTheTimeout(t *testing.T) {
	s, _ := enforcing(t)
	released := make(chan struct{})
	address := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-released }))
	t.Cleanup(func() { close(released) })
	target, err := dataplane.New(dataplane.Options{
		Address: address, User: dataplanetest.User, Password: password, MapDir: s.MapDir, Timeout: 50 * time.Millisecond,
	})
	require.NoError(t, err)
	began := time.Now()
	assert.Error(t, target.SetMode(t.Context(), detect.ModeOff, false))
	assert.Less(t, time.Since(began), targettest.Wait)
}
