package fingerprint_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/fingerprint"
	"offpath/reassembly/message"
)

// prints is what a Cache is to answer.
func prints(names *fingerprint.Names, head *message.Head, ja4 string) fingerprint.Prints {
	return fingerprint.Prints{Core: names.Core(head.Fields), Loose: names.Loose(head.Fields), Wire: names.Wire(head, ja4)}
}

func TestACacheAnswersWhatWouldBeWorkedOut(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	for _, ignore := range [][]string{nil, {"USER-AGENT", "te"}} {
		names := fingerprint.NewNames(ignore)
		cache, shapes := fingerprint.NewCache(names), message.NewShapes(nil)
		for range 20_000 {
			v := vector{Version: pick("1.0", "1.1", "2", "2"), JA4: pick("", "t13d1516h2_8daaf6152771_02713d6af862", "t12d")}
			for range rng.IntN(6) {
				v.Fields = append(v.Fields, [2]string{
					pick("User-Agent", "user-agent", "Accept", "Accept-Language", "accept-encoding", "TE", "Cookie", "Sec-CH-UA", ":path", "Accept-Charset"),
					pick("", "a", "en-US,en;q=0.9", "de,fr;q=0.8", "en_us", "gzip, br", strings.Repeat("x", 511)+pick("y", "z", "yz"), strings.Repeat("x", 1100)),
				})
			}
			if v.Version == "2" {
				v.Window = uint32(rng.IntN(2))
				for range rng.IntN(3) {
					v.Settings = append(v.Settings, [2]uint32{uint32(1 + rng.IntN(2)), uint32(rng.IntN(2))}, [2]uint32{0x0a0a, rng.Uint32()})
				}
			}
			head := v.head()
			head.Shape = shapes.Find(head.Fields)
			require.Equal(t, prints(&names, head, v.JA4), *cache.Get(head, v.JA4), "%+v", v)
		}
	}
}

func TestAFloodOfProgramsDisplacesNoneThatComesAgain(t *testing.T) {
	var names fingerprint.Names
	cache, shapes := fingerprint.NewCache(names), message.NewShapes(nil)
	find := func(agent string) *message.Head {
		head := &message.Head{Version: "1.1", Fields: fieldsOf([][2]string{{"Host", "bank.example"}, {"User-Agent", agent}})}
		head.Shape = shapes.Find(head.Fields)
		return head
	}
	usual := find("usual")
	for range 2 {
		cache.Get(usual, "")
	}
	for i := range 20_000 {
		cache.Get(find(fmt.Sprint(i, "x")), "")
		if i%1000 == 0 {
			assert.Zero(t, testing.AllocsPerRun(1, func() { cache.Get(usual, "") }), i)
		}
	}
}

func TestARepeatedRequestCostsNoAllocation(t *testing.T) {
	shapes := message.NewShapes(nil)
	for name, v := range vectors(t) {
		head := v.head()
		head.Shape = shapes.Find(head.Fields)
		cache := fingerprint.NewCache(fingerprint.NewNames(v.Ignore))
		cache.Get(head, v.JA4)
		switch name {
		case "fields that come twice", "a value that is too long": // such are not remembered
			continue
		}
		assert.Zero(t, testing.AllocsPerRun(100, func() { cache.Get(head, v.JA4) }), name)
	}
}

func BenchmarkCache(b *testing.B) {
	v := vectors(b)["the same in HTTP/2, in five languages, behind a load balancer"]
	head := v.head()
	head.Shape = message.NewShapes(nil).Find(head.Fields)
	var names fingerprint.Names
	b.Run("hit", func(b *testing.B) {
		cache := fingerprint.NewCache(names)
		b.ReportAllocs()
		for b.Loop() {
			cache.Get(head, v.JA4)
		}
	})
	b.Run("miss", func(b *testing.B) {
		cache := fingerprint.NewCache(names)
		other := *head
		other.Shape = nil
		b.ReportAllocs()
		for b.Loop() {
			cache.Get(&other, v.JA4)
		}
	})
}
