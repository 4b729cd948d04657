package cloudflare_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	gosync "sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/cloudflare"
	"offpath/mitigate/controller"
	"offpath/mitigate/internal/cloudflaretest"
	"offpath/mitigate/internal/targettest"
)

// before stands before the API and answers what it likes itself.
type before func(w http.ResponseWriter, r *http.Request, next http.Handler)

// behind is the API behind something, without an edge to ask.
func behind(t testing.TB, api *cloudflaretest.API, does before) string {
	t.Helper()
	prepare(t, api)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { does(w, r, api) }))
	t.Cleanup(s.Close)
	return s.URL + "/client/v4"
}

func TestOneOperationOfAnAccountIsWaitedForWhoeverBeganIt(t *testing.T) {
	api := &cloudflaretest.API{Takes: 20 * time.Millisecond}
	s, target := enforcing(t, api)
	other := newTarget(t, s.Address) // another writer, though there should be none
	require.NoError(t, other.SetAllow(t.Context(), nil))
	var wg gosync.WaitGroup
	for i := range uint32(3) {
		wg.Go(func() {
			assert.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(i+1, fmt.Sprintf("203.0.113.%d", i+1))}, nil))
			assert.NoError(t, other.SetAllow(t.Context(), nil))
		})
	}
	wg.Wait()
	assert.Equal(t, []bool{true, true, true}, refused(s, "203.0.113.1", "203.0.113.2", "203.0.113.3"))
}

func TestABlockedUserIsNotAskedForAgainBeforeTheTime(t *testing.T) {
	api := &cloudflaretest.API{}
	address := behind(t, api, func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })
	target := newTarget(t, address)
	sync(t, target, entry(1, "203.0.113.1"))
	asked := func() int { return api.Count("", "") }

	api.SetRequests(4, 2*time.Second, 2*time.Second)
	began := time.Now()
	sync(t, newTarget(t, address), entry(1, "203.0.113.1")) // who can, waits
	assert.GreaterOrEqual(t, time.Since(began), 2*time.Second)

	api.SetRequests(1, time.Hour, time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), targettest.Wait)
	defer cancel()
	_, err := target.Sync(ctx, nil)
	require.ErrorContains(t, err, "429")
	before := asked()
	time.Sleep(2 * time.Millisecond)
	for range 20 {
		_, err := target.Identity(ctx)
		require.ErrorContains(t, err, "429", "who can't wait that long is told at once")
	}
	assert.Equal(t, before, asked(), "nothing is asked")
}

func TestTheKillSwitchIsTriedWhileAllElseWaits(t *testing.T) {
	api := &cloudflaretest.API{}
	var throttles atomic.Bool
	address := behind(t, api, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if throttles.Load() && strings.Contains(r.URL.Path, "/lists") {
			w.Header().Set("Retry-After", "300")
			http.Error(w, `{"success":false,"errors":[{"code":10429,"message":"Rate limited"}],"messages":[],"result":null}`, http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
	target := newTarget(t, address, func(o *cloudflare.Options) { o.Pace = time.Hour })
	sync(t, target)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	throttles.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := target.Sync(ctx, nil)
	require.ErrorContains(t, err, "nothing is asked for another 5m0s")
	require.NoError(t, target.SetMode(ctx, detect.ModeOff, false))
	assert.Equal(t, false, api.Rules(cloudflaretest.Zone)[0]["enabled"])
	assert.Error(t, target.SetMode(ctx, detect.ModeEnforce, false), "which can wait, as all else")
}

func TestRequestsAndChangesAreKeptApart(t *testing.T) {
	api := &cloudflaretest.API{}
	s := start(t, api, nil)
	target := newTarget(t, s.Address, func(o *cloudflare.Options) { o.Gap, o.Pace = 20*time.Millisecond, 100*time.Millisecond })
	sync(t, target)
	requests, changes := api.Count("", ""), api.Count("POST", "/items")
	began := time.Now()
	for i := range uint32(4) {
		require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(i+1, fmt.Sprintf("203.0.113.%d", i+1))}, nil))
	}
	took := time.Since(began)
	assert.Equal(t, changes+4, api.Count("POST", "/items"))
	assert.GreaterOrEqual(t, took, 300*time.Millisecond)
	assert.GreaterOrEqual(t, took, time.Duration(api.Count("", "")-requests-1)*20*time.Millisecond)
}

func TestOrdersThatComeMeanwhileGoTogether(t *testing.T) {
	api := &cloudflaretest.API{}
	s := start(t, api, nil)
	target := newTarget(t, s.Address, func(o *cloudflare.Options) { o.Pace = 200 * time.Millisecond })
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{target}, Mode: detect.ModeEnforce})
	targettest.Eventually(t, func() bool { s := c.Targets()[0]; return s.Connected && s.Mode == detect.ModeEnforce }, func() string { return c.Targets()[0].LastError })
	before := api.Count("POST", "/items")
	const n = 50
	began := time.Now()
	for i := range uint32(n) {
		require.NoError(t, c.Apply(targettest.Block(i+1, fmt.Sprintf("203.0.113.%d", i+1))))
		time.Sleep(5 * time.Millisecond)
	}
	targettest.Eventually(t, func() bool { return c.Targets()[0].InForce == n }, func() string { return c.Targets()[0].LastError })
	assert.LessOrEqual(t, api.Count("POST", "/items")-before, int(time.Since(began)/(200*time.Millisecond))+1)
}

func TestWhatTheAccountHasNoRoomForIsRejectedAndAllElseIsInForce(t *testing.T) {
	api := &cloudflaretest.API{Quota: 500}
	s, target := enforcing(t, api)
	api.Put("offpath_block", "198.51.100.1", "a person's")
	var entries []mitigate.Entry
	for i := range uint32(1000) {
		entries = append(entries, entry(i+1, fmt.Sprintf("203.0.%d.%d", 113+i>>8, i&255)))
		entries[i].Expires -= int64(i)
	}
	before := api.Count("POST", "/items")
	_, err := target.Sync(t.Context(), entries)
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, err, &rejected)
	assert.Contains(t, rejected.Rejections[0].Answer, "maximum number of list items")
	held := api.Items("offpath_block")
	assert.Greater(t, len(held), 400, "nearly as many as there is room for")
	assert.Equal(t, len(entries), len(held)-1+len(rejected.Rejections), "of each is said what became of it")
	assert.Less(t, api.Count("POST", "/items")-before, 20)
	assert.Equal(t, []bool{true, true}, refused(s, "203.0.113.0", "198.51.100.1"))
	for _, r := range rejected.Rejections {
		assert.Greater(t, r.ID, entries[400].ID, "those that end first")
	}

	gone := []detect.Subject{}
	for i := range 100 {
		gone = append(gone, entries[i].Subject)
	}
	require.NoError(t, target.Apply(t.Context(), nil, gone))
	late := entry(2000, "203.0.200.1")
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{late}, nil), "there is room again")
	assert.Equal(t, []bool{false, true}, refused(s, "203.0.113.0", "203.0.200.1"))
}

func TestWhatHasNoRoomEndsNothingThatIsInForce(t *testing.T) {
	api := &cloudflaretest.API{Quota: 12}
	s, target := enforcing(t, api)
	live := entry(1, "203.0.113.1")
	live.Expires = time.Now().Add(90 * time.Second).Unix()
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{live}, nil))
	for i := range 11 {
		api.Put("offpath_allow", fmt.Sprintf("198.51.100.%d", i), "operator's")
	}
	live.Expires += 3600 // which its item is to tell
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, target.Apply(t.Context(), []mitigate.Entry{live, entry(2, "203.0.113.2")}, nil), &rejected)
	require.Len(t, rejected.Rejections, 1)
	assert.Equal(t, entry(2, "203.0.113.2").ID, rejected.Rejections[0].ID)
	assert.Equal(t, []bool{true, false}, refused(s, "203.0.113.1", "203.0.113.2"))
	for i := range 11 {
		api.Put("offpath_allow", fmt.Sprintf("198.51.100.%d", 100+i), "operator's") // more than there is room for
	}
	live.Expires -= 1800
	live.ID++
	require.ErrorAs(t, target.Apply(t.Context(), []mitigate.Entry{live}, nil), &rejected, "it stands in place of another")
	assert.Equal(t, []bool{true}, refused(s, "203.0.113.1"))
}

func TestBeyondItsCapacityWhatEndsFirstIsRejected(t *testing.T) {
	_, target := enforcing(t, &cloudflaretest.API{}, func(o *cloudflare.Options) { o.Capacity = 2 })
	var entries []mitigate.Entry
	for i := range uint32(3) {
		entries = append(entries, entry(i+1, fmt.Sprintf("203.0.113.%d", i+1)))
		entries[i].Expires -= int64(i)
	}
	_, err := target.Sync(t.Context(), entries)
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, []mitigate.Rejection{{ID: entries[2].ID, Answer: "there is room for 2 verdicts"}}, rejected.Rejections)
	assert.Equal(t, 2, target.Capacity())
}

func TestAnOperationThatFailsIsReportedWithItsError(t *testing.T) {
	api := &cloudflaretest.API{}
	var fails atomic.Bool
	api.Fails = func(list string) string {
		if fails.Load() && list == "offpath_block" {
			return "internal error 17"
		}
		return ""
	}
	s, target := enforcing(t, api)
	sync(t, target, entry(1, "203.0.113.1"))
	fails.Store(true)
	err := target.Apply(t.Context(), []mitigate.Entry{entry(2, "203.0.113.2")}, nil)
	var rejected *mitigate.RejectedError
	require.ErrorAs(t, err, &rejected)
	assert.Contains(t, rejected.Rejections[0].Answer, "internal error 17")
	assert.ErrorContains(t, target.Apply(t.Context(), nil, []detect.Subject{entry(1, "203.0.113.1").Subject}), "internal error 17")
	assert.Error(t, target.Apply(t.Context(), nil, nil), "all is to be compared first")
	fails.Store(false)
	sync(t, target, entry(2, "203.0.113.2"))
	assert.Equal(t, []bool{false, true}, refused(s, "203.0.113.1", "203.0.113.2"))
}

// An answer is lost, and what was ordered is carried out only after a comparison began.
func TestWhatIsCarriedOutLateUndoesNothing(t *testing.T) {
	for name, order := range map[string]func(target *cloudflare.Target) error{
		"an addition": func(target *cloudflare.Target) error {
			return target.Apply(context.Background(), []mitigate.Entry{entry(2, "203.0.113.2")}, nil)
		},
		"a removal": func(target *cloudflare.Target) error {
			return target.Apply(context.Background(), nil, []detect.Subject{entry(1, "203.0.113.1").Subject})
		},
	} {
		for how, restart := range map[string]bool{"the same process": false, "one that starts": true} {
			t.Run(name+", "+how, func(t *testing.T) {
				api := &cloudflaretest.API{}
				var loses atomic.Bool
				address := behind(t, api, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					if r.Method != http.MethodGet && loses.CompareAndSwap(true, false) {
						next.ServeHTTP(httptest.NewRecorder(), r)
						panic(http.ErrAbortHandler)
					}
					next.ServeHTTP(w, r)
				})
				target := newTarget(t, address)
				sync(t, target, entry(1, "203.0.113.1"))
				_, err := target.Identity(t.Context()) // so that ids are known
				require.NoError(t, err)
				sync(t, target, entry(1, "203.0.113.1"))
				api.SetTakes(100 * time.Millisecond)
				loses.Store(true)
				require.Error(t, order(target))
				if restart {
					target = newTarget(t, address)
				}
				sync(t, target, entry(1, "203.0.113.1"))
				time.Sleep(250 * time.Millisecond)
				held := api.Items("offpath_block")
				assert.Len(t, held, 1)
				assert.Contains(t, held, "203.0.113.1")
			})
		}
	}
}

func TestAnOperationThatTakesLongerThanAnOrderMayIsWaitedForByTheNext(t *testing.T) {
	api := &cloudflaretest.API{}
	_, target := enforcing(t, api)
	api.SetTakes(2 * time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := target.Apply(ctx, []mitigate.Entry{entry(1, "203.0.113.1")}, nil)
	require.True(t, errors.Is(err, context.DeadlineExceeded), "%v", err)
	before := api.Count("POST", "/items")
	assert.Equal(t, mitigate.SyncReport{Held: 1, Compared: true}, sync(t, target, entry(1, "203.0.113.1")))
	assert.Equal(t, before, api.Count("POST", "/items"))
}

func TestWhatWasDeletedIsNoticedAndPutBack(t *testing.T) {
	api := &cloudflaretest.API{}
	s, target := enforcing(t, api)
	sync(t, target, entry(1, "203.0.113.1"))
	before, err := target.Identity(t.Context())
	require.NoError(t, err)
	api.Drop("offpath_block", "203.0.113.1")
	assert.Equal(t, mitigate.SyncReport{Compared: true, Set: 1}, sync(t, target, entry(1, "203.0.113.1")))
	assert.Equal(t, []bool{true}, refused(s, "203.0.113.1"))
	for _, list := range []string{"offpath_block", "offpath_allow"} {
		api.DeleteList(list)
		time.Sleep(2 * time.Millisecond)
		require.ErrorIs(t, target.Prepared(t.Context()), cloudflare.ErrNotPrepared)
		_, err = target.Sync(t.Context(), nil)
		require.ErrorIs(t, err, cloudflare.ErrNotPrepared)
	}
	require.ErrorIs(t, target.SetAllow(t.Context(), nil), cloudflare.ErrNotPrepared)
	_, err = install(s.Address)
	require.NoError(t, err)
	time.Sleep(2 * time.Millisecond)
	after, err := target.Identity(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, before.Process, after.Process)
	sync(t, target, entry(1, "203.0.113.1"))
	assert.Equal(t, []bool{true}, refused(s, "203.0.113.1"))
	api.DeleteRule(cloudflaretest.Zone, "offpath")
	time.Sleep(2 * time.Millisecond)
	_, _, err = target.Mode(t.Context())
	require.ErrorIs(t, err, cloudflare.ErrNotPrepared)
	assert.ErrorIs(t, target.SetMode(t.Context(), detect.ModeEnforce, false), cloudflare.ErrNotPrepared)
}

func TestNothingIsTakenOutBeforeItIsKnownWhatThereIsToBe(t *testing.T) {
	api := &cloudflaretest.API{}
	s, target := enforcing(t, api)
	sync(t, target, entry(1, "203.0.113.1"))
	fresh := newTarget(t, s.Address)
	assert.Error(t, fresh.Apply(t.Context(), []mitigate.Entry{entry(2, "203.0.113.2")}, nil))
	require.NoError(t, fresh.Sweep(t.Context()))
	assert.Equal(t, []bool{true}, refused(s, "203.0.113.1"))
}

func TestWrongAnswersAreErrorsThatSayWhat(t *testing.T) {
	envelope := func(result string) string {
		return `{"success":true,"errors":[],"messages":[],"result":` + result + `,"result_info":{"cursors":{"after":"same"}}}`
	}
	for want, answer := range map[string]struct {
		status int
		body   string
	}{
		"no answer of Cloudflare's API":  {200, "<html>"},
		"answered 502":                   {502, "<html>"},
		"result is of another kind":      {200, envelope(`"x"`)},
		"result is of another kind ":     {200, envelope(`null`)},
		`403: "Authentication error" (1`: {403, `{"success":false,"errors":[{"code":10000,"message":"Authentication error"}],"result":null}`},
		`500: "not said" (0)`:            {500, `{"success":false,"errors":[],"result":null}`},
		`200: "odd" (7)`:                 {200, `{"success":false,"errors":[{"code":7,"message":"odd"}],"result":null}`},
		"which is no answer ":            {302, ""},
		"longer than":                    {200, string(make([]byte, 17<<20))},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(answer.status)
			_, _ = w.Write([]byte(answer.body))
		}))
		_, err := newTarget(t, s.URL).Identity(t.Context())
		assert.ErrorContains(t, err, want[:len(want)-1])
		s.Close()
	}
}

func TestAListThatDoesNotEndIsNotReadForEver(t *testing.T) {
	api := &cloudflaretest.API{}
	address := behind(t, api, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Query().Get("per_page") != "" {
			_, _ = w.Write([]byte(`{"success":true,"result":[{"id":"a","ip":"192.0.2.1"}],"result_info":{"cursors":{"after":"same"}}}`))
			return
		}
		next.ServeHTTP(w, r)
	})
	_, err := newTarget(t, address).Sync(t.Context(), nil)
	assert.ErrorContains(t, err, "don't end")
}

func TestATokenThatCantBeReadOrMayNotIsSaidAndNeverShown(t *testing.T) {
	api := &cloudflaretest.API{}
	address := behind(t, api, func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })
	with := func(token func() ([]byte, error)) *cloudflare.Target {
		return newTarget(t, address, func(o *cloudflare.Options) { o.Token = token })
	}
	_, err := with(func() ([]byte, error) { return nil, errors.New("no such file") }).Identity(t.Context())
	assert.ErrorContains(t, err, "token: no such file")
	_, err = with(func() ([]byte, error) { return []byte("another-token"), nil }).Identity(t.Context())
	assert.ErrorContains(t, err, "Authentication error")
	assert.NotContains(t, err.Error(), "another-token")
	api.ReadOnly = true
	_, err = newTarget(t, address).Sync(t.Context(), nil)
	assert.ErrorContains(t, err, "Authentication error")
}

// faulty does to requests what networks and Cloudflare's own troubles do.
type faulty struct {
	mu   gosync.Mutex
	rand *rand.Rand // nil: nothing
}

func (f *faulty) set(r *rand.Rand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rand = r
}

func (f *faulty) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	f.mu.Lock()
	fault := -1
	if f.rand != nil {
		fault = f.rand.IntN(60)
	}
	f.mu.Unlock()
	answer := httptest.NewRecorder()
	switch fault {
	case 0: // lost on its way
		panic(http.ErrAbortHandler)
	case 1: // the answer is lost
		next.ServeHTTP(answer, r)
		panic(http.ErrAbortHandler)
	case 2:
		http.Error(w, "<html>", http.StatusBadGateway)
	case 3: // the answer is cut short
		next.ServeHTTP(answer, r)
		w.Header().Set("Content-Length", fmt.Sprint(answer.Body.Len()))
		_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
		panic(http.ErrAbortHandler)
	case 4: // the answer is another's
		next.ServeHTTP(answer, r)
		_, _ = w.Write([]byte(`{"success":true,"errors":[],"messages":[],"result":{"id":"x","status":"completed"}}`))
	case 5:
		time.Sleep(5 * time.Millisecond)
		next.ServeHTTP(w, r)
	case 6:
		http.Error(w, `{"success":false,"errors":[{"code":10040,"message":"wait"}],"result":null}`, http.StatusTooManyRequests)
	default:
		next.ServeHTTP(w, r)
	}
}

func TestAfterFaultsTheListHoldsExactlyWhatIsWanted(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 7))
		f := &faulty{}
		api := &cloudflaretest.API{Takes: time.Millisecond}
		fails := rand.New(rand.NewPCG(seed, 9))
		var failing atomic.Bool
		api.Fails = func(string) string {
			if failing.Load() && fails.IntN(10) == 0 {
				return "internal error"
			}
			return ""
		}
		target := newTarget(t, behind(t, api, f.serve))
		wanted := map[detect.Subject]mitigate.Entry{}
		people := map[string]string{}
		all := func() (list []mitigate.Entry) {
			for _, e := range wanted {
				list = append(list, e)
			}
			return list
		}
		// held are the items by verdict; of people's, the comment.
		exactly := func(why string) {
			t.Helper()
			want := map[string]string{}
			for s, e := range wanted {
				want[s.Client.Masked().String()] = e.ID.String()
			}
			for ip, c := range people {
				want[ip] = c
			}
			got := map[string]string{}
			for ip, c := range api.Items("offpath_block") {
				p := targettest.Network(ip)
				if len(c) > 8 && c[:8] == "offpath " {
					c = c[8:24]
				}
				got[p.String()] = c
			}
			require.Equal(t, want, got, "seed %d: %s", seed, why)
		}
		f.set(rand.New(rand.NewPCG(seed, 8)))
		failing.Store(true)
		broken, done := true, 0 // as the controller does: after a failure all is compared
		for step := range uint32(50) {
			e := entry(step+1, fmt.Sprintf("203.0.113.%d", random.IntN(12)))
			if random.IntN(4) == 0 {
				e = entry(step+1, fmt.Sprintf("2001:db8:%d::/48", random.IntN(3)))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			var err error
			if random.IntN(3) == 0 {
				delete(wanted, e.Subject)
				if !broken {
					err = target.Apply(ctx, nil, []detect.Subject{e.Subject})
				}
			} else {
				wanted[e.Subject] = e
				if !broken {
					err = target.Apply(ctx, []mitigate.Entry{e}, nil)
				}
			}
			if broken {
				_, err = target.Sync(ctx, all())
			}
			cancel()
			if broken = err != nil; !broken {
				done++
				exactly(fmt.Sprint("step ", step))
			}
			switch random.IntN(20) {
			case 0:
				ip := fmt.Sprintf("198.51.100.%d/32", random.IntN(5))
				api.Put("offpath_block", ip, "a person's")
				people[ip] = "a person's"
			case 1:
				for s := range wanted {
					api.Drop("offpath_block", s.Client.String())
					broken = true
					break
				}
			}
		}
		assert.Greater(t, done, 5, "seed %d: no test without orders that are carried out", seed)
		f.set(nil)
		failing.Store(false)
		sync(t, target, all()...)
		exactly("at the end")
	}
}

func TestTenThousandVerdictsThatCameWhileCloudflareWasOutOfReachAreInForceAfterwards(t *testing.T) {
	const n = 9000
	api := &cloudflaretest.API{Takes: time.Millisecond}
	s := start(t, api, nil)
	c, _ := targettest.Running(t, controller.Config{Targets: []mitigate.Target{newTarget(t, s.Address)}, Mode: detect.ModeEnforce, MaxPerMinute: 2 * n})
	targettest.Eventually(t, func() bool { s := c.Targets()[0]; return s.Connected && s.Mode == detect.ModeEnforce }, func() string { return c.Targets()[0].LastError })
	s.Down()
	targettest.Eventually(t, func() bool { return !c.Targets()[0].Connected }, func() string { return "noticed" })
	of := func(i uint32) detect.Verdict {
		return targettest.Block(i+1, fmt.Sprintf("203.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	for i := range uint32(n + 1) {
		require.NoError(t, c.Apply(of(i)))
	}
	s.Up()
	targettest.Eventually(t, func() bool { return c.Targets()[0].InForce == n }, func() string { return c.Targets()[0].LastError })
	assert.Equal(t, 1, c.Targets()[0].Rejected, "one more than it has room for")
	assert.Equal(t, []bool{true, true, false}, refused(s, "203.0.0.1", "203.0.35.39", "203.0.40.16"))
	assert.Len(t, api.Items("offpath_block"), n)
}
