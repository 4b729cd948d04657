package trials

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/lab/internal/traffic"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/detect/jsonl"
	"offpath/reassembly"
)

// written is a sink that keeps every line.
type written []string

func (l *written) Finding(f *detect.Finding) { *l = append(*l, string(jsonl.AppendFinding(nil, f))) }
func (l *written) Verdict(v *detect.Verdict) { *l = append(*l, string(jsonl.AppendVerdict(nil, v))) }

func snapshotOf(t *testing.T, e *engine.Engine) []byte {
	var b bytes.Buffer
	_, err := e.Snapshot(engine.Origin{}).WriteTo(&b)
	require.NoError(t, err)
	return b.Bytes()
}

// What a bank and its attackers do, detected in one piece and with restarts, gives
// the same lines and leaves the same state: before an attack, at its onset, in its
// middle, between a login and the use of its session.
func TestRestartsChangeNothingInTheTrafficOfTheLab(t *testing.T) {
	const most, later = 130_000, 120e9
	for _, c := range []struct {
		scenario string
		found    bool // lines of some kind are to be expected
	}{{"B1", true}, {"B2-50", false}, {"B3", false}, {"B7", true}, {"N2", false}, {"N6", false}} {
		t.Run(c.scenario, func(t *testing.T) {
			list, err := traffic.Select([]string{c.scenario})
			require.NoError(t, err)
			var want, got written
			whole, err := engine.New(engine.Config{}, &want)
			require.NoError(t, err)
			cut, err := engine.New(engine.Config{}, &got)
			require.NoError(t, err)
			rng := rand.New(rand.NewPCG(1, 1))
			run := list[0].Open(3)
			restarts, next, n := 0, 1000, 0
			var tx reassembly.Transaction
			for ; n < most; n++ {
				_, more := run.Next(&tx)
				if !more || tx.End > run.Onset+later && n > 20_000 {
					break
				}
				if gap := run.Onset - tx.End; gap > 0 && gap < 2e8 {
					next = min(next, n+rng.IntN(5)) // about the onset, at almost every step
				}
				one, other := tx, tx
				whole.Observe(&one)
				cut.Observe(&other)
				if one.Annotation != other.Annotation {
					require.Equal(t, one.Annotation, other.Annotation, "of transaction %d", n)
				}
				if n < next {
					continue
				}
				next = n + 1 + rng.IntN(n/2+1000)
				restarts++
				octets := snapshotOf(t, cut)
				require.True(t, bytes.Equal(snapshotOf(t, whole), octets), "after %d transactions", n)
				cut, _, err = engine.Resume(engine.Config{}, &got, bytes.NewReader(octets), "")
				require.NoError(t, err)
			}
			assert.Equal(t, want, got)
			assert.True(t, bytes.Equal(snapshotOf(t, whole), snapshotOf(t, cut)), "at the end")
			assert.Greater(t, restarts, 2)
			t.Logf("%d transactions, %d restarts, %d lines, onset reached: %v", n, restarts, len(want), tx.End > run.Onset)
			if c.found {
				assert.NotEmpty(t, want)
			}
		})
	}
}
