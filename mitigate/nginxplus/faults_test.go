package nginxplus_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	gosync "sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/nginxplustest"
	"offpath/mitigate/nginxplus"
)

func TestThePrintedConfigurationIsAcceptedByNGINX(t *testing.T) {
	allow := filepath.Join(t.TempDir(), "allow.conf")
	require.NoError(t, os.WriteFile(allow, []byte("192.0.2.0/24 1;\n2001:db8::1 1;\n"), 0o600))
	for name, s := range map[string]nginxplus.Setup{
		"as it comes":    {},
		"with rates":     {Rates: proxied.Rates},
		"behind proxies": {TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}, ClientHeader: "X-Real-IP"},
		"API on IPv6":    {Address: "http://[::1]:8089"},
	} {
		t.Run(name, func(t *testing.T) {
			s.AllowFile = allow
			parts, err := s.Render()
			require.NoError(t, err)
			out, err := nginxplustest.Check(t, parts)
			assert.NoError(t, err, "%s", out)
			assert.Empty(t, out)
		})
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

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	fault := -1
	if f.on {
		fault = f.rand.IntN(8)
	}
	f.mu.Unlock()
	switch fault {
	case 0: // lost on its way
		panic(http.ErrAbortHandler)
	case 1: // the answer is lost
		f.next.ServeHTTP(nowhere{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	case 2:
		http.Error(w, "<html>", http.StatusBadGateway)
	default:
		f.next.ServeHTTP(w, r)
	}
}

type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}

func TestAfterFaultsTheZonesHoldExactlyWhatIsWanted(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 7))
		api := node(t)
		f := &faulty{next: api, rand: rand.New(rand.NewPCG(seed, 8))}
		target := newTarget(t, serve(t, f))
		wanted := map[detect.Subject]mitigate.Entry{}
		all := func() (list []mitigate.Entry) {
			for _, e := range wanted {
				list = append(list, e)
			}
			return list
		}
		f.set(true)
		broken := true // as the controller does: after a failure all is compared
		for step := range uint32(40) {
			client := fmt.Sprintf("192.0.2.%d", random.IntN(12))
			if random.IntN(4) == 0 {
				client = fmt.Sprintf("198.51.%d.0/24", random.IntN(3))
			}
			e := entry(step+1, client)
			e.Expires += int64(step)
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
			if random.IntN(15) == 0 {
				api.Restart()
				broken = true
			}
			if !broken {
				require.Equal(t, records(wanted), held(api), "seed %d, step %d", seed, step)
			}
		}
		f.set(false)
		_, err := target.Sync(t.Context(), all())
		require.NoError(t, err)
		require.Equal(t, records(wanted), held(api), "seed %d", seed)
	}
}

func (f *faulty) set(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = on
}

// records are the values that zones are to hold, by key.
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

// held is what the zones say; what is on its way out says nothing.
func held(api *nginxplustest.API) map[string]string {
	list := api.Records("offpath_addresses")
	maps.Copy(list, api.Records("offpath_networks"))
	maps.DeleteFunc(list, func(_, value string) bool { return value == "-" })
	return list
}

func TestNothingIsSaidToBeInForceWhileTheAPIFails(t *testing.T) {
	api := node(t)
	f := &faulty{next: api, rand: rand.New(rand.NewPCG(1, 1))}
	address := serve(t, f)
	require.NoError(t, sync(t, newTarget(t, address)))
	f.set(true)
	target := newTarget(t, address)
	said := 0
	for i := range uint32(50) {
		e := entry(i+1, fmt.Sprintf("192.0.2.%d", i))
		if target.Apply(t.Context(), []mitigate.Entry{e}, nil) == nil {
			said++
			assert.Contains(t, held(api), e.Subject.Client.Addr().String())
		}
	}
	assert.Greater(t, said, 10)
	assert.Less(t, said, 50)
}
