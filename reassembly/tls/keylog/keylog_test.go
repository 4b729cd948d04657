package keylog_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/tls/keylog"
)

var (
	random = strings.Repeat("5a", 32)
	long   = strings.Repeat("c3", 48)
	short  = strings.Repeat("3c", 32)
)

func store(t testing.TB, max int) *keylog.Store {
	t.Helper()
	s, err := keylog.New(keylog.Config{MaxSecrets: max})
	require.NoError(t, err)
	return s
}

func lookup(s *keylog.Store, l keylog.Label, random string) string {
	var r keylog.Random
	if _, err := hex.Decode(r[:], []byte(random)); err != nil {
		panic(err)
	}
	secret, ok := s.Lookup(l, &r)
	if !ok {
		return ""
	}
	return hex.EncodeToString(secret.Bytes())
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		name, line string
		label      keylog.Label
		want       string
		stats      keylog.Stats
	}{
		{"a master secret", "CLIENT_RANDOM " + random + " " + long, keylog.Master, long, keylog.Stats{Lines: 1, Secrets: 1}},
		{"a traffic secret of SHA-256", "CLIENT_TRAFFIC_SECRET_0 " + random + " " + short, keylog.ClientApplication, short, keylog.Stats{Lines: 1, Secrets: 1}},
		{"a traffic secret of SHA-384", "SERVER_TRAFFIC_SECRET_0 " + random + " " + long, keylog.ServerApplication, long, keylog.Stats{Lines: 1, Secrets: 1}},
		{"an early secret", "CLIENT_EARLY_TRAFFIC_SECRET " + random + " " + short, keylog.ClientEarly, short, keylog.Stats{Lines: 1, Secrets: 1}},
		{"hex in upper case, CRLF", "SERVER_HANDSHAKE_TRAFFIC_SECRET " + strings.ToUpper(random+" "+short) + "\r\n", keylog.ServerHandshake, short, keylog.Stats{Lines: 1, Secrets: 1}},
		{"the same twice", strings.Repeat("CLIENT_RANDOM "+random+" "+long+"\n", 2), keylog.Master, long, keylog.Stats{Lines: 2, Secrets: 1, Repeated: 1}},
		{"the later of two that differ", "CLIENT_RANDOM " + random + " " + strings.Repeat("00", 48) + "\nCLIENT_RANDOM " + random + " " + long, keylog.Master, long, keylog.Stats{Lines: 2, Secrets: 2}},
		{"an exporter secret is not kept", "EXPORTER_SECRET " + random + " " + short, keylog.Master, "", keylog.Stats{Lines: 1, Ignored: 1}},
		{"comments and blank lines", "# made by hand\n\n  \r\n", keylog.Master, "", keylog.Stats{Lines: 3, Ignored: 3}},
		{"a short master secret", "CLIENT_RANDOM " + random + " " + short, keylog.Master, "", keylog.Stats{Lines: 1, Malformed: 1}},
		{"a random that is too short", "CLIENT_RANDOM 5a5a " + long, keylog.Master, "", keylog.Stats{Lines: 1, Malformed: 1}},
		{"a random that is no hex", "CLIENT_RANDOM " + strings.Repeat("zz", 32) + " " + long, keylog.Master, "", keylog.Stats{Lines: 1, Malformed: 1}},
		{"a secret that is no hex", "CLIENT_RANDOM " + random + " " + strings.Repeat("zz", 48), keylog.Master, "", keylog.Stats{Lines: 1, Malformed: 1}},
		{"a secret that is too long", "CLIENT_RANDOM " + random + " " + long + "0", keylog.Master, "", keylog.Stats{Lines: 1, Malformed: 1}},
		{"a secret with an odd digit", "CLIENT_TRAFFIC_SECRET_0 " + random + " " + short + "0", keylog.ClientApplication, "", keylog.Stats{Lines: 1, Malformed: 1}},
		{"a label alone", "CLIENT_RANDOM", keylog.Master, "", keylog.Stats{Lines: 1, Malformed: 1}},
		{"something else", "GET / HTTP/1.1", keylog.Master, "", keylog.Stats{Lines: 1, Ignored: 1}},
		{"octets", "\x00\xff\x00", keylog.Master, "", keylog.Stats{Lines: 1, Malformed: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := store(t, 0)
			s.Add([]byte(c.line))
			assert.Equal(t, c.want, lookup(s, c.label, random))
			assert.Equal(t, c.stats, s.Stats())
			assert.Equal(t, c.stats.Secrets > 0, s.Generation() > 0)
		})
	}
}

func TestTheOldestSecretsGiveWay(t *testing.T) {
	s := store(t, 3)
	for i := range 5 {
		s.Add(fmt.Appendf(nil, "CLIENT_RANDOM %064x %s\n", i, long))
	}
	for i := range 5 {
		assert.Equal(t, i >= 2, lookup(s, keylog.Master, fmt.Sprintf("%064x", i)) != "", "secret %d", i)
	}
	assert.Equal(t, keylog.Stats{Lines: 5, Secrets: 5, Evicted: 2}, s.Stats())
}

func TestWhatIsNotThereIsLookedUpInTheBase(t *testing.T) {
	base := store(t, 0)
	s, err := keylog.New(keylog.Config{Base: base})
	require.NoError(t, err)
	random := strings.Repeat("ab", 32)
	before := s.Generation()
	base.Add([]byte("CLIENT_RANDOM " + random + " " + strings.Repeat("11", 48)))
	assert.Greater(t, s.Generation(), before)
	assert.Equal(t, strings.Repeat("11", 48), lookup(s, keylog.Master, random))
	s.Add([]byte("CLIENT_RANDOM " + random + " " + strings.Repeat("22", 48)))
	assert.Equal(t, strings.Repeat("22", 48), lookup(s, keylog.Master, random))
	assert.Equal(t, strings.Repeat("11", 48), lookup(base, keylog.Master, random))
}

func TestABadBoundIsQuoted(t *testing.T) {
	_, err := keylog.New(keylog.Config{MaxSecrets: -1})
	assert.EqualError(t, err, "key log: max secrets -1 is negative")
}

func TestLookupsRunBesideAdditions(t *testing.T) {
	s := store(t, 64)
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := range 200 {
				s.Add(fmt.Appendf(nil, "CLIENT_RANDOM %064x %s\n", w*1000+i, long))
				assert.Contains(t, []string{"", long}, lookup(s, keylog.Master, fmt.Sprintf("%064x", i)))
			}
		})
	}
	group.Wait()
	assert.EqualValues(t, 800-64, s.Stats().Evicted)
}

func TestLookupAllocatesNothing(t *testing.T) {
	s := store(t, 0)
	s.Add([]byte("CLIENT_RANDOM " + random + " " + long))
	var r keylog.Random
	assert.Zero(t, testing.AllocsPerRun(100, func() { s.Lookup(keylog.Master, &r) }))
}

func FuzzAdd(f *testing.F) {
	f.Add([]byte("CLIENT_RANDOM " + random + " " + long + "\n# x\r\nCLIENT_TRAFFIC_SECRET_0 " + random + " " + short))
	f.Add([]byte("CLIENT_RANDOM  " + random + "\n\n\x00"))
	f.Fuzz(func(t *testing.T, log []byte) {
		s := store(t, 4)
		s.Add(log)
		st := s.Stats()
		assert.Equal(t, st.Lines, st.Secrets+st.Repeated+st.Ignored+st.Malformed)
		again := store(t, 4)
		for line := range strings.Lines(string(log)) {
			again.Add([]byte(line))
		}
		assert.Equal(t, st, again.Stats(), "line by line")
	})
}
