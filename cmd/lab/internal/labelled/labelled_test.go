package labelled

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/lab/internal/traffic"
	"offpath/reassembly"
)

// some is the beginning of a scenario, and remembers it.
type some struct {
	*traffic.Run
	left   int
	txs    []reassembly.Transaction
	truths []traffic.Truth
}

func (s *some) Next(tx *reassembly.Transaction) (traffic.Truth, bool) {
	if s.left == 0 {
		return traffic.Truth{}, false
	}
	s.left--
	truth, more := s.Run.Next(tx)
	s.txs, s.truths = append(s.txs, *tx), append(s.truths, truth)
	return truth, more
}

func open(t *testing.T, name string, seed uint64) *traffic.Run {
	list, err := traffic.Select([]string{name})
	require.NoError(t, err)
	return list[0].Open(seed)
}

// names gives one's hashes those of another: what was one must stay one.
type names map[string]string

func (n names) same(t *testing.T, a, b string) {
	known, ok := n[a]
	if !ok {
		n[a] = b
		return
	}
	require.Equal(t, known, b)
}

func TestTheSensorMakesOfPacketsWhatTheScenarioSays(t *testing.T) {
	forwarded := 0
	for _, test := range []struct {
		scenario string
		seed     uint64
	}{{"B1-cold", 1}, {"B1-cold", 2}, {"N7", 3}, {"N9", 4}, {"N6", 5}, {"N2", 6}} {
		dir := t.TempDir()
		script := &some{Run: open(t, test.scenario, test.seed), left: 1000}
		n, err := WritePackets(t.Context(), dir, "x", script)
		require.NoError(t, err)
		require.Equal(t, 1000, n)
		if len(script.Proxies()) > 0 {
			forwarded++
		}

		list, err := Find(dir)
		require.NoError(t, err)
		require.Len(t, list, 1)
		source, err := list[0].Open(t.Context(), script.Proxies())
		require.NoError(t, err)
		assert.False(t, source.ByRole)
		users, passwords, tokens := make(names), make(names), make(names)
		for i := range script.txs {
			want, truth := &script.txs[i], script.truths[i]
			var got reassembly.Transaction
			label, more := source.Next(&got)
			require.True(t, more)
			require.Equal(t, truth.Attack, label.Attack)
			require.Equal(t, truth.Login, label.Login)
			if truth.Login {
				require.Equal(t, truth.Down, label.Down)
			}
			if !truth.Down {
				require.Equal(t, truth.Right, label.Right)
			}

			require.Equal(t, want.Start, got.Start)
			require.Equal(t, want.End, got.End)
			require.Equal(t, want.Client, got.Client)
			require.Equal(t, want.Source.Addr(), got.Source.Addr())
			require.Equal(t, want.Destination, got.Destination)
			users.same(t, want.Auth.UserHash, got.Auth.UserHash)
			passwords.same(t, want.Auth.PasswordHash, got.Auth.PasswordHash)
			require.Len(t, got.Auth.SessionPresented, len(want.Auth.SessionPresented))
			require.Len(t, got.Auth.SessionIssued, len(want.Auth.SessionIssued))
			for k, token := range want.Auth.SessionPresented {
				tokens.same(t, token, got.Auth.SessionPresented[k])
			}
			for k, token := range want.Auth.SessionIssued {
				tokens.same(t, token, got.Auth.SessionIssued[k])
			}
			require.Equal(t, plain(want), plain(&got))
		}
		_, more := source.Next(new(reassembly.Transaction))
		assert.False(t, more)
		require.NoError(t, source.Close())
	}
	assert.NotZero(t, forwarded)
	assert.NotEqual(t, 6, forwarded)
}

// plain is a transaction without what the key, the connection and the handshake
// decide.
func plain(tx *reassembly.Transaction) reassembly.Transaction {
	p := *tx
	p.ID, p.CommunityID, p.Sequence, p.Source = "", "", 0, p.Destination
	p.JA4, p.ServerName, p.FingerprintWire = "", "", ""
	p.Auth.UserHash, p.Auth.PasswordHash, p.Auth.SessionPresented, p.Auth.SessionIssued = "", "", nil, nil
	return p
}

func TestLabelsOfOthersNeedNotSayMuch(t *testing.T) {
	dir := t.TempDir()
	script := &some{Run: open(t, "B1-cold", 1), left: 200}
	_, err := WritePackets(t.Context(), dir, "x", script)
	require.NoError(t, err)
	for _, test := range []struct{ name, labels, fault string }{
		{"two keys", `{"event.id":"a","label":"attack"}`, ""},
		{"a hit", `{"event.id":"a","label":"attack","hit":true}`, ""},
		{"none", ``, ""},
		{"another label", `{"event.id":"a","label":"bad"}`, `label 1: label "bad": must be attack or legitimate`},
		{"no id", `{"label":"attack"}`, "label 1: no event.id"},
		{"no JSON", `{"event.id":"a","label":"attack"}` + "\n?", "label 2: invalid character"},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "x.labels.jsonl"), []byte(test.labels), 0o600))
			list, err := Find(dir)
			require.NoError(t, err)
			source, err := list[0].Open(t.Context(), nil)
			if test.fault != "" {
				assert.ErrorContains(t, err, test.fault)
				return
			}
			require.NoError(t, err)
			assert.True(t, source.ByRole)
			assert.Equal(t, test.labels != "", source.Attack)
			require.NoError(t, source.Close(), "closed before its end")
		})
	}
}

func TestAFolderMustHoldWhatItsLabelsAreFor(t *testing.T) {
	dir := t.TempDir()
	_, err := Find(dir)
	assert.ErrorContains(t, err, "no file ends in .labels.jsonl")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.labels.jsonl"), nil, 0o600))
	_, err = Find(dir)
	assert.ErrorContains(t, err, "there is neither x.jsonl nor a capture of that name")
}
