package crowdsec_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
)

// brokenWire stands between a bouncer and its Local API and breaks, by chance.
type brokenWire struct {
	url string

	mu     sync.Mutex
	rng    *rand.Rand
	well   bool
	broken int
}

func newBrokenWire(t *testing.T, there string, seed uint64) *brokenWire {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	w := &brokenWire{url: "http://" + listener.Addr().String(), rng: rand.New(rand.NewPCG(seed, 1))}
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", there)
			if err != nil || w.breaks() == 1 {
				near.Close()
				if err == nil {
					far.Close()
				}
				continue
			}
			go func() { io.Copy(far, near); far.Close() }()
			go w.carry(near, far)
		}
	}()
	return w
}

// breaks says what goes wrong next: 0 nothing, 1 it is refused, 2 it is cut, 3 it is lost.
func (w *brokenWire) breaks() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.well || w.rng.IntN(3) > 0 {
		return 0
	}
	w.broken++
	return 1 + w.rng.IntN(3)
}

// carry brings answers to the bouncer, or the beginning of one.
func (w *brokenWire) carry(near, far net.Conn) {
	defer near.Close()
	defer far.Close()
	chunk := make([]byte, 64<<10)
	for {
		n, err := far.Read(chunk)
		if err != nil {
			return
		}
		switch w.breaks() {
		case 2:
			near.Write(chunk[:n/2])
			return
		case 3:
			return
		}
		if _, err := near.Write(chunk[:n]); err != nil {
			return
		}
	}
}

func (w *brokenWire) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.well = true
}

// bouncer holds what it was told, by value, as bouncers do: it asks for everything until
// it was told everything once, then for what is new, whatever goes wrong.
type bouncer struct {
	client *http.Client
	begun  bool
	holds  map[string]bool
}

func (b *bouncer) poll(url string) {
	query := "?startup=true"
	if b.begun {
		query = ""
	}
	r, err := http.NewRequest("GET", url+"/v1/decisions/stream"+query, nil)
	if err != nil {
		return
	}
	r.Header.Set("X-Api-Key", apiKey)
	r.Header.Set("User-Agent", "crowdsec-test-bouncer/v1")
	answer, err := b.client.Do(r)
	if err != nil {
		return
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	var a told
	if err != nil || answer.StatusCode != 200 || json.Unmarshal(text, &a) != nil {
		return
	}
	b.begun = true
	for _, d := range a.New {
		b.holds[d.Value] = true
	}
	for _, d := range a.Deleted {
		delete(b.holds, d.Value)
	}
}

// Of a bouncer that keeps its connection it is known what it has read; of one that does
// not, eleven answers in a row may be lost, which here never comes about.
func TestWhateverAnswersAreLostTheBouncerHoldsInTheEndWhatIsActive(t *testing.T) {
	for seed := range uint64(6) {
		for _, keeps := range []bool{true, false} {
			t.Run(fmt.Sprintf("seed %d, keeps its connection: %v", seed, keeps), func(t *testing.T) {
				t.Parallel()
				l := enforcing(t, "")
				wire := newBrokenWire(t, strings.TrimPrefix(l.url, "http://"), seed)
				b := &bouncer{client: &http.Client{Transport: &http.Transport{DisableKeepAlives: !keeps}, Timeout: 5 * time.Second}, holds: map[string]bool{}}
				rng := rand.New(rand.NewPCG(seed, 2))
				active := map[string]bool{}
				for i := range uint32(300) {
					client := fmt.Sprintf("192.0.2.%d", rng.IntN(60))
					switch {
					case !active[client]:
						l.set(t, entry(i+1, client, time.Hour))
						active[client] = true
					case rng.IntN(2) == 0:
						l.lift(t, client)
						delete(active, client)
					default: // again, by another verdict
						l.set(t, entry(i+1, client, 2*time.Hour))
					}
					if i%100 == 50 {
						require.NoError(t, l.SetMode(t.Context(), detect.ModeOff, false))
						b.poll(wire.url)
						require.NoError(t, l.SetMode(t.Context(), detect.ModeEnforce, false))
					}
					if rng.IntN(3) == 0 {
						b.poll(wire.url)
					}
				}
				wire.heal()
				for range 3 {
					b.poll(wire.url)
				}
				assert.Equal(t, slices.Sorted(maps.Keys(active)), slices.Sorted(maps.Keys(b.holds)))
				assert.Positive(t, wire.broken)
			})
		}
	}
}
