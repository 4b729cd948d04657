package awswaf_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	gosync "sync"
	"testing"

	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/awswaf"
	"offpath/mitigate/internal/awswaftest"
)

// TestAfterFaultsTheSetsHoldExactlyWhatIsWanted orders at random, while requests, answers
// and sets are lost, others write, and AWS throttles.
func TestAfterFaultsTheSetsHoldExactlyWhatIsWanted(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 7))
		f := &awswaftest.Fake{}
		var mu gosync.Mutex
		var faults *rand.Rand // nil: there are none
		set := func(r *rand.Rand) {
			mu.Lock()
			defer mu.Unlock()
			faults = r
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			fault := -1
			if faults != nil {
				fault = faults.IntN(150)
			}
			mu.Unlock()
			switch fault {
			case 0: // lost on its way
				panic(http.ErrAbortHandler)
			case 1: // the answer is lost
				f.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			case 2:
				w.Header().Set("X-Amzn-Errortype", "ThrottlingException")
				http.Error(w, `{"message":"Rate exceeded"}`, http.StatusBadRequest)
			case 3:
				http.Error(w, "<html>", http.StatusBadGateway)
			case 4:
				f.Meddle(group+"-block-ipv4-0", "192.0.2.250/32")
				f.ServeHTTP(w, r)
			case 5:
				f.Delete(group + "-block-ipv4-1")
				f.ServeHTTP(w, r)
			default:
				f.ServeHTTP(w, r)
			}
		}))
		target := newTarget(t, server.URL, func(o *awswaf.Options) { o.Attempts, o.Rates = 1, nil })
		wanted := map[detect.Subject]mitigate.Entry{}
		all := func() (list []mitigate.Entry) {
			for _, e := range wanted {
				list = append(list, e)
			}
			return list
		}
		set(rand.New(rand.NewPCG(seed, 8)))
		broken, inForce := true, 0
		for step := range uint32(60) {
			e := entry(step+1, fmt.Sprintf("192.0.2.%d", random.IntN(30)))
			if random.IntN(4) == 0 {
				e = entry(step+1, fmt.Sprintf("2001:db8:%d::/48", random.IntN(4)))
			}
			var add []mitigate.Entry
			var remove []detect.Subject
			if random.IntN(3) == 0 {
				delete(wanted, e.Subject)
				remove = append(remove, e.Subject)
			} else {
				wanted[e.Subject] = e
				add = append(add, e)
			}
			var err error
			if broken { // as the controller does: after a failure all is compared
				_, err = target.Sync(t.Context(), all())
			} else {
				err = target.Apply(t.Context(), add, remove)
			}
			if broken = err != nil; !broken {
				inForce++
			}
		}
		require.Greater(t, inForce, 5, "seed %d: no test without orders that are carried out", seed)
		set(nil)
		_, err := target.Sync(t.Context(), all())
		require.NoError(t, err)
		var want, got []string
		for s := range wanted {
			want = append(want, s.Client.String())
		}
		for name, addresses := range f.Sets() {
			require.True(t, strings.HasPrefix(name, group+"-block-"), name)
			got = append(got, addresses...)
		}
		slices.Sort(want)
		slices.Sort(got)
		require.Equal(t, want, got, "seed %d", seed)
		server.Close()
	}
}
