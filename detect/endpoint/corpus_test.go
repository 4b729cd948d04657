package endpoint

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/reassembly"
)

// score is how well the templates of some APIs were found.
type score struct {
	apis, operations     int
	requests, grouped    int
	found, right, merged int
}

func (s *score) recall() float64    { return float64(s.right) / float64(s.operations) }
func (s *score) precision() float64 { return float64(s.right) / float64(s.found) }
func (s *score) f1() float64        { return 2 * s.recall() * s.precision() / (s.recall() + s.precision()) }
func (s *score) String() string {
	return fmt.Sprintf("%4d APIs %6d operations: recall %.3f precision %.3f F1 %.3f grouping %.3f inflation %.3f over-merged %d (%.2f %%)",
		s.apis, s.operations, s.recall(), s.precision(), s.f1(), float64(s.grouped)/float64(s.requests),
		float64(s.found)/float64(s.operations), s.merged, 100*float64(s.merged)/float64(s.operations))
}

// canonical is a template without the names of its parameters.
func canonical(method, path string) string {
	path, operation, _ := strings.Cut(path, "#")
	list := strings.Split(path, "/")
	kept := list[:0]
	for _, segment := range list {
		segment = braces.ReplaceAllString(segment, "{}")
		if segment != "" {
			kept = append(kept, segment)
		}
	}
	return method + " /" + strings.Join(kept, "/") + "#" + operation
}

// play lets a learner see n requests of each operation, in random order, and
// adds to the score what it made of them.
func (s *score) play(a *api, n int, rng *rand.Rand) {
	base, err := url.Parse(braces.ReplaceAllString(a.base, "x"))
	prefix := ""
	if err == nil {
		prefix = strings.TrimSuffix(base.Path, "/")
	}
	values := synthesis{rng: rng, pools: map[string]pool{}, style: rng.IntN(100)}
	l := New(Config{Endpoints: 1 << 18})
	envelope, failure := keysOf(rng), keysOf(rng)
	type answer struct{ keys, media string }
	answers := make([]answer, len(a.operations))
	order := make([]int, 0, n*len(a.operations))
	for i := range a.operations {
		switch r := rng.Float64(); {
		case r < 0.25:
			answers[i].media = "none"
		case r < 0.35:
			answers[i] = answer{envelope, "json"}
		default:
			answers[i] = answer{keysOf(rng), "json"}
		}
		for range n {
			order = append(order, i)
		}
	}
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	got := make([]*Endpoint, len(order))
	for i, o := range order {
		operation := &a.operations[o]
		tx := &reassembly.Transaction{Start: int64(i), End: int64(i) + 1, Client: netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(50))})}
		tx.Request.Method, tx.Request.Domain, tx.Request.Path = operation.method, "api.example", prefix+values.instance(operation)
		tx.Request.Path, tx.Operation, _ = strings.Cut(tx.Request.Path, "#") // what the specification tells operations of one path apart by
		tx.Response.Status = 200
		tx.Response.Signature.Media, tx.Response.Signature.Keys = answers[o].media, answers[o].keys
		if rng.Float64() < 0.05 {
			tx.Response.Status = []int{400, 401, 403, 404, 500}[rng.IntN(5)]
			tx.Response.Signature.Media, tx.Response.Signature.Keys = "json", failure
		}
		if tx.Response.Signature.Media == "json" {
			tx.Response.Signature.Length = 8
		}
		got[i] = l.Locate(tx)
	}
	truth := map[string]bool{}
	groups := map[*Endpoint]map[int]int{}
	per := make([]int, len(a.operations))
	for i, o := range order {
		e := got[i].target()
		if groups[e] == nil {
			groups[e] = map[int]int{}
		}
		groups[e][o]++
		per[o]++
	}
	for _, o := range a.operations {
		truth[canonical(o.method, prefix+o.path)] = true
	}
	s.apis++
	s.operations += len(a.operations)
	s.requests += len(order)
	for e, of := range groups {
		if e.at == nil {
			continue // 404 alone
		}
		s.found++
		_, path, _ := strings.Cut(e.Name, "api.example")
		found := canonical(e.method, path)
		if truth[found] {
			delete(truth, found)
			s.right++
		}
		if len(of) > 1 {
			s.merged++
		}
		for o, k := range of {
			if len(of) == 1 && k >= per[o]*95/100 { // some of its requests were answered 404 only
				s.grouped += k
			}
		}
	}
}

func keysOf(rng *rand.Rand) string { return fmt.Sprintf("%016x", rng.Uint64()) }

// What is learned by, and how much of it is needed, was tuned on the APIs of even
// position, and on the others under seeds 1 to 4; what is asserted is of the
// others. Seeds 5 to 10 were played to confirm, and looked at for one thing: a
// specification with # in its paths, which the synthesis took for an operation.
//
// The aims are an F1 of 0.90 with 40 requests an operation and 0.95 with 400.
// Under seeds 1 to 10 it is 0.958 to 0.989 and 0.970 to 0.992, and at most 0.3 %
// of the operations are merged with another. Those played here have the lowest
// of these. What lacks is mostly parameters of a few values that answer without
// keys, or of two values, which are left literal.
func TestTemplatesOfRealAPIsAreFound(t *testing.T) {
	if raceDetector {
		t.Skip("minutes of one goroutine: make test runs it without the race detector")
	}
	if testing.Short() {
		t.Skip("plays millions of requests")
	}
	all := apisOf(t)
	for _, c := range []struct {
		name    string
		apis, n int
		f1      float64
	}{
		{"300 APIs with 40 requests an operation", 300, 40, 0.95},
		{"120 APIs with 400 requests an operation", 120, 400, 0.965},
	} {
		for _, seed := range []uint64{2, 3, 8, 9} {
			rng := rand.New(rand.NewPCG(seed, 7))
			var s score
			for _, i := range rng.Perm(len(all)) {
				if i%2 == 1 && len(all[i].operations) <= 1000 && s.apis < c.apis {
					s.play(&all[i], c.n, rng)
				}
			}
			t.Logf("%s, seed %d: %s", c.name, seed, &s)
			assert.GreaterOrEqual(t, s.f1(), c.f1)
			assert.Less(t, float64(s.merged), 0.005*float64(s.operations))
		}
	}
}
