package engine

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/detect/jsonl"
	"offpath/reassembly"
)

// mixture is a little of everything, in the order of time.
func mixture(seed uint64) []try {
	v6 := attack{seed: seed, addresses: 30, from: 40 * second, ramp: 10 * second, length: 2 * minute, period: 3 * second}.tries()
	for i := range v6 {
		v6[i].client = "2001:db8:0:7::" + v6[i].client[strings.LastIndexByte(v6[i].client, '.')+1:]
	}
	return merge(
		customers(seed, 1500, 0, 30*minute, 0.1), office(seed, "82.0.0.1", 400, 0, 30*minute, 0.1), v6,
		attack{seed: seed, addresses: 20, from: minute, ramp: 20 * second, length: 20 * minute, period: 4 * second, right: 0.03}.tries(),
	)
}

// lines is everything that an engine writes about some attempts, and the
// annotations that it makes; between runs between the attempts.
func lines(t *testing.T, tries []try, between func(*Engine, int)) []string {
	b := newBench(t)
	var out []string
	found, decided := 0, 0
	for i, y := range tries {
		tx := b.try(y)
		out = append(out, fmt.Sprint(tx.End, tx.Annotation))
		for ; found < len(b.found); found++ {
			out = append(out, string(jsonl.AppendFinding(nil, b.found[found])))
		}
		for ; decided < len(b.decided); decided++ {
			out = append(out, string(jsonl.AppendVerdict(nil, b.decided[decided])))
		}
		if between != nil {
			between(b.Engine, i)
		}
	}
	b.Advance(math.MaxInt64)
	b.Close()
	require.Len(t, b.found, found)
	require.Len(t, b.decided, decided, "nothing is decided at the end of input")
	return out
}

func TestTheSameInputGivesTheSameLines(t *testing.T) {
	tries := mixture(1)
	want := lines(t, tries, nil)
	assert.Equal(t, want, lines(t, tries, nil))
	assert.Equal(t, want, lines(t, tries, func(e *Engine, i int) {
		if i+1 < len(tries) && i%3 == 0 { // watermarks fall where batches end
			e.Advance(at(tries[i].at + (tries[i+1].at-tries[i].at)/2))
		}
		if i%50 == 0 {
			e.Enforcements()
			e.Stats()
		}
	}), "whatever is asked in between")
}

func TestTheInputCutAnywhereGivesTheLinesUpToThere(t *testing.T) {
	tries := mixture(2)
	all := lines(t, tries, nil)
	for cut := 1; cut < len(tries); cut += len(tries)/20 + 1 {
		part := lines(t, tries[:cut], nil)
		assert.Equal(t, all[:len(part)], part)
	}
}

func TestLinesStandInTheOrderOfTime(t *testing.T) {
	b := newBench(t).run(mixture(3))
	last := int64(0)
	for _, v := range b.decided {
		assert.GreaterOrEqual(t, v.Time, last)
		last = v.Time
	}
	assert.Contains(t, b.blocked(), "2001:db8:0:7::/64")
}

func TestMemoryIsBoundedUnderAFlood(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Entities, c.Endpoints, c.Verdicts = 256, 64, 16 })
	loyal := try{client: "81.0.0.1", account: "loyal", password: "right", right: true}
	for i := range 20000 {
		y := try{at: time.Duration(i) * 50 * time.Millisecond, client: fmt.Sprintf("45.%d.%d.%d", i>>16, i>>8&255, i&255), account: fmt.Sprint(i), password: "p"}
		switch {
		case i%100 == 0:
			loyal.at = y.at
			y = loyal
		case i%2 == 0:
			y.client = fmt.Sprintf("46.0.0.%d", i/2%64)
		}
		tx := y.transaction(i)
		if i%2 == 1 {
			tx.Request.Path = fmt.Sprintf("/v1/login/x%d", i)
		}
		b.Observe(tx)
	}
	s := b.Stats()
	assert.Equal(t, 256, s.Entities)
	assert.Equal(t, 64, s.Endpoints)
	assert.LessOrEqual(t, s.ActiveVerdicts, 16)
	assert.NotZero(t, s.EntityEvictions)
	assert.NotZero(t, s.EndpointEvictions)
	assert.NotZero(t, s.VetoCapacity)
	assert.Contains(t, fmt.Sprint(b.Logins()), "POST api.bank.example/v1/login ", "the login that works is kept")
}

func TestAnOversizedNumberOfIssuedSessionsIsForgotten(t *testing.T) {
	s := newSessions()
	p := new(place)
	tx := new(reassembly.Transaction)
	for i := range 3 * maxIssued {
		tx.Auth.SessionIssued = []string{fmt.Sprintf("%016x", i+1)}
		s.issue(tx, p, 1)
	}
	assert.Len(t, s.byToken, maxIssued)
	assert.Len(t, s.ring, maxIssued)
}

func TestConfigurationErrorsQuoteTheBadValue(t *testing.T) {
	for want, change := range map[string]func(*Config){
		`mode "loud": must be off, monitor or enforce`:       func(c *Config) { c.Mode = "loud" },
		"baseline 0.7: must be from 0.01 to 0.6":             func(c *Config) { c.Baseline = 0.7 },
		"baseline NaN: must be from 0.01 to 0.6":             func(c *Config) { c.Baseline = math.NaN() },
		"false alarm 0.5: must be from 1e-12 to 0.01":        func(c *Config) { c.FalseAlarm = 0.5 },
		"known good share -1: must be above 0 and at most 1": func(c *Config) { c.KnownGoodShare = -1 },
		"ttl 1ms: must be from 1s to the longest, 24h0m0s":   func(c *Config) { c.TTL = time.Millisecond },
		"longest ttl 25h0m0s: must be at most 24h0m0s":       func(c *Config) { c.MaxTTL = 25 * hour },
		"entities 1: must be from 64 to 67108864":            func(c *Config) { c.Entities = 1 },
		"endpoints -1: must be from 64 to 1048576":           func(c *Config) { c.Endpoints = -1 },
		"verdicts -1: must be from 1 to 1048576":             func(c *Config) { c.Verdicts = -1 },
		"network invalid Prefix: not valid":                  func(c *Config) { c.Allow = make([]netip.Prefix, 1) },
	} {
		var cfg Config
		change(&cfg)
		_, err := New(cfg, new(recorder))
		assert.EqualError(t, err, want)
	}
}

func TestTheModeLabelsLinesAndDecidesNothing(t *testing.T) {
	tries := mixture(4)
	var counts []int
	for _, mode := range []detect.Mode{detect.ModeOff, detect.ModeMonitor, detect.ModeEnforce} {
		b := newBench(t, func(c *Config) { c.Mode = mode }).run(tries)
		counts = append(counts, len(b.decided))
		want := detect.ModeMonitor
		if mode == detect.ModeEnforce {
			want = mode
		}
		for _, v := range b.decided {
			assert.Equal(t, want, v.Mode)
		}
	}
	assert.Equal(t, counts[0], counts[1])
	assert.Equal(t, counts[0], counts[2])
	b := newBench(t)
	b.SetMode(detect.ModeEnforce)
	b.run(tries)
	assert.Equal(t, detect.ModeEnforce, b.decided[0].Mode)
}

// FuzzEngine feeds transactions made of arbitrary octets and asserts what must
// hold of whatever comes out.
func FuzzEngine(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09abcdefghij"), int64(1))
	f.Add([]byte(strings.Repeat("\x00\x91\x05\x01\x02", 60)), int64(1e18))
	f.Fuzz(func(t *testing.T, data []byte, start int64) {
		r := new(recorder)
		allow := netip.MustParsePrefix("45.0.0.7/32")
		e, err := New(Config{Entities: 64, Endpoints: 64, Verdicts: 4, Allow: []netip.Prefix{allow}}, r)
		require.NoError(t, err)
		clock := start
		for n := 0; len(data) >= 5; n++ {
			op, b := data[0], data[1:5]
			data = data[5:]
			if clock += int64(b[3]) * int64(b[3]) * 1e8; clock < 0 {
				clock = start
			}
			tx := fuzzed(op, b, n, clock, r)
			e.Observe(tx)
			switch op >> 5 {
			case 1:
				e.Advance(clock + 1e9)
			case 2:
				if len(r.decided) > 0 {
					e.Lifted(r.decided[int(b[0])%len(r.decided)].ID)
				}
			case 3:
				for _, v := range r.decided {
					e.Hits([]detect.Hits{{Verdict: v.ID, Refused: uint64(b[0])}})
				}
			case 4:
				e.SetMode([]detect.Mode{detect.ModeMonitor, detect.ModeEnforce}[b[0]&1])
			case 5:
				if len(r.decided) > 0 {
					v := *r.decided[int(b[0])%len(r.decided)]
					e.Restore(&v)
				}
			}
		}
		check(t, e, r, allow)
	})
}

func fuzzed(op byte, b []byte, n int, clock int64, r *recorder) *reassembly.Transaction {
	y := try{
		at: time.Duration(clock - epoch), client: fmt.Sprintf("45.0.0.%d", b[0]%16), account: fmt.Sprint(b[1]), password: fmt.Sprint(b[2] % 8),
		right: op&1 != 0, web: op&2 != 0,
	}
	if op&4 != 0 {
		y.client = fmt.Sprintf("2001:db8::%d:%x", b[0]%2, b[0])
	}
	if op&8 != 0 {
		y.status = int(b[2]) * 3
	}
	if op&16 != 0 && len(r.decided) > 0 {
		y.refused = r.decided[int(b[1])%len(r.decided)].ID
	}
	tx := y.transaction(n)
	switch op >> 5 {
	case 4:
		tx.Client = netip.Addr{}
	case 5:
		tx.Request = reassembly.Request{}
	case 6:
		tx.Source = netip.MustParseAddrPort("10.0.0.1:1")
	case 7:
		tx.Auth.SessionPresented = []string{string(b)}
	}
	return tx
}

func check(t *testing.T, e *Engine, r *recorder, allow netip.Prefix) {
	t.Helper()
	findings := make(map[string]bool)
	last := int64(math.MinInt64)
	for _, f := range r.found {
		findings[f.ID] = true
		assert.GreaterOrEqual(t, f.Evidence.Statistic, f.Evidence.Threshold-0.001)
		assert.LessOrEqual(t, len(f.Evidence.Events), 20)
		assert.LessOrEqual(t, f.WindowStart, f.WindowEnd)
		assert.NotEmpty(t, f.Message)
	}
	expires := make(map[string]int64)
	for _, v := range r.decided {
		assert.GreaterOrEqual(t, v.Time, last)
		last = v.Time
		assert.Greater(t, v.Expires, v.Time)
		assert.LessOrEqual(t, v.Expires-v.Time, detect.MaxLifetime)
		assert.GreaterOrEqual(t, v.Expires, expires[v.ID], "a renewal never shortens")
		expires[v.ID] = v.Expires
		assert.False(t, v.Subject.Client.Overlaps(allow), "the allow-list is never acted against")
		require.Len(t, v.Findings, 1)
		assert.True(t, findings[v.Findings[0]])
	}
	s := e.Stats()
	assert.LessOrEqual(t, s.Entities, 64)
	assert.LessOrEqual(t, s.Endpoints, 64)
	assert.LessOrEqual(t, len(e.verdicts.byID), 4)
	assert.Len(t, e.verdicts.expiries, len(e.verdicts.byID))
	assert.Len(t, e.verdicts.bySubject, len(e.verdicts.byID))
	assert.Equal(t, s.ActiveVerdicts, e.witness.Len())
	assert.Len(t, e.Enforcements(), s.ActiveVerdicts)
	assert.LessOrEqual(t, s.Expired+s.Lifted+uint64(s.ActiveVerdicts), s.Verdicts+s.Restored)
}
