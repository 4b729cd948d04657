package traffic

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"os/exec"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
	"offpath/reassembly/jsonl"
)

// first opens a scenario and gives the first n transactions to see.
func first(t *testing.T, name string, seed uint64, n int, see func(*reassembly.Transaction, Truth)) *Run {
	t.Helper()
	list, err := Select([]string{name})
	require.NoError(t, err)
	run := list[0].Open(seed)
	var tx reassembly.Transaction
	for range n {
		truth, more := run.Next(&tx)
		if !more {
			break
		}
		see(&tx, truth)
	}
	return run
}

func digest(t *testing.T, name string, seed uint64) string {
	h := fnv.New64a()
	var encoder jsonl.Encoder
	first(t, name, seed, 1_000, func(tx *reassembly.Transaction, truth Truth) {
		line := encoder.Append(nil, tx)
		fmt.Fprintf(h, "%s %+v\n", line, truth)
	})
	return fmt.Sprintf("%x", h.Sum64())
}

func TestTheSameSeedGivesTheSameStream(t *testing.T) {
	for _, s := range Scenarios() {
		one := digest(t, s.Name, 3)
		assert.Equal(t, one, digest(t, s.Name, 3), s.Name)
		assert.NotEqual(t, one, digest(t, s.Name, 4), s.Name)
	}
}

func TestTransactionsComeInTheirOrder(t *testing.T) {
	for _, s := range Scenarios() {
		var last reassembly.Transaction
		first(t, s.Name, 5, 2_000, func(tx *reassembly.Transaction, _ Truth) {
			if last.End != 0 {
				require.True(t, reassembly.Less(&last, tx), s.Name)
			}
			require.Equal(t, tx.Duration, tx.End-tx.Start)
			require.Positive(t, tx.Duration)
			last = *tx
		})
	}
}

func TestHonestLoginsFailAsOftenAsTheSeedSays(t *testing.T) {
	for seed := range uint64(3) {
		logins, failed := 0, 0
		want := failureRates[seed%3]
		first(t, "N1", seed, 40_000, func(_ *reassembly.Transaction, truth Truth) {
			if truth.Login {
				logins++
				if !truth.Right {
					failed++
				}
			}
		})
		got := float64(failed) / float64(logins)
		assert.InEpsilon(t, want, got, 0.3, "seed %d", seed) // it wanders
	}
}

func TestLabelsSayWhatTheTransactionsShow(t *testing.T) {
	for _, seed := range []uint64{1, 2} {
		issued := make(map[string]bool)
		first(t, "B1-cold", seed, 40_000, func(tx *reassembly.Transaction, truth Truth) {
			require.Equal(t, truth.Login, tx.Auth.PasswordHash != "", "%s %s", tx.Request.Method, tx.Request.Target)
			for _, token := range tx.Auth.SessionPresented {
				require.True(t, issued[token], "a session is used that nobody was given")
			}
			for _, token := range tx.Auth.SessionIssued {
				issued[token] = true
			}
			if truth.Login && slices.Contains(factorCodes, tx.Response.Signature.Code) {
				require.True(t, truth.Right)
				require.Empty(t, tx.Auth.SessionIssued, "the second factor brings the session")
			} else if truth.Login && tx.OFX == nil {
				require.Equal(t, truth.Right, len(tx.Auth.SessionIssued) > 0, "%+v", tx.Response)
			}
			if truth.Login && tx.OFX != nil {
				require.Equal(t, truth.Right, tx.OFX.StatusCodes[0] == "0")
			}
		})
		assert.NotEmpty(t, issued)
	}
}

func TestAnAttackHasItsShareAndItsOnset(t *testing.T) {
	for _, test := range []struct {
		name  string
		share float64
	}{{"B1-cold", 0.9}, {"B2-50", 0.5}} {
		for _, seed := range []uint64{2} {
			var honest, attack int
			list, err := Select([]string{test.name})
			require.NoError(t, err)
			run := list[0].Open(seed)
			var tx reassembly.Transaction
			for tx.Start < run.Onset+10*60e9 {
				truth, more := run.Next(&tx)
				require.True(t, more)
				if truth.Attack {
					require.GreaterOrEqual(t, tx.Start, run.Onset)
				}
				if tx.Start >= run.Onset+60e9 && truth.Login { // when it has begun everywhere
					if truth.Attack {
						attack++
					} else {
						honest++
					}
				}
			}
			got := float64(attack) / float64(attack+honest)
			assert.InEpsilon(t, test.share, got, 0.25, "%s seed %d", test.name, seed)
		}
	}
}

func TestARotationUsesNoHouseholdTwice(t *testing.T) {
	seen := make(map[netip.Addr]int)
	const attempts = 5_000
	a := newAttack(newWorld(1, 0.08, 5, 1000, 1), levelCopy, 0, 1)
	a.pool = newPool(a.rand, &a.w.net, 400_000, 0.7)
	for n := range uint64(attempts) {
		seen[a.address(0, n)]++
	}
	once := 0
	for _, n := range seen {
		if n == 1 {
			once++
		}
	}
	assert.Greater(t, float64(once)/attempts, 0.65, "the others are of shared networks")
}

func TestWhatIsRefusedLeavesNoSession(t *testing.T) {
	list, err := Select([]string{"N2"})
	require.NoError(t, err)
	run := list[0].Open(1)
	var tx reassembly.Transaction
	refused, uses := 0, 0
	for range 50_000 {
		truth, more := run.Next(&tx)
		require.True(t, more)
		if truth.Login {
			run.Refuse(&tx, "0000000100000001")
			refused++
			assert.Equal(t, 403, tx.Response.Status)
			assert.Empty(t, tx.Auth.SessionIssued)
		}
		uses += len(tx.Auth.SessionPresented)
	}
	assert.Positive(t, refused)
	assert.Zero(t, uses)
}

func TestPermutationsMeetEveryNumberOnce(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 7, 64, 1000, 4097} {
		p := newPermutation(n, 9)
		seen := make(map[uint64]bool)
		for i := range n {
			at := p.at(i)
			require.Less(t, at, n)
			require.False(t, seen[at])
			seen[at] = true
		}
	}
}

func TestOnlyPerfectMimicsLookLikeCustomers(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(seed, 0.08, 5, 1000, 1)
		for l := levelTool; l <= levelInfected; l++ {
			a := newAttack(w, l, w.start, w.start+3600e9)
			require.NotEmpty(t, a.tools)
			for _, s := range slices.Concat(a.tools, a.later) {
				found := slices.ContainsFunc(w.software[s.channel], func(o *software) bool { return core(o) == core(s) })
				assert.Equal(t, l >= levelMimic, found, "seed %d A%d %s", seed, l, s.name)
				if l == levelTool || l == levelCopy {
					assert.Zero(t, s.bootstrap)
				}
			}
		}
	}
}

func TestEveryKindOfRequestAndAnswerOccurs(t *testing.T) {
	asked, answered, styles := make(map[call]bool), make(map[answer]bool), make(map[Style]bool)
	for seed := range uint64(3) { // an outage of each kind
		list, err := Select([]string{"N9"})
		require.NoError(t, err)
		run := list[0].Open(seed + 1)
		var tx reassembly.Transaction
		for more := true; more && tx.Start < run.Onset+60e9; {
			_, more = run.Next(&tx)
		}
		for k := range run.sensor.responses {
			asked[k.call], answered[k.answer], styles[k.endpoint.style] = true, true, true
		}
	}
	answered[answerRefused] = true // another test's
	assert.Len(t, asked, calls)
	assert.Len(t, answered, answers)
	assert.Len(t, styles, 4)
}

func TestItSharesNothingWithDetection(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	assert.Contains(t, string(out), "offpath/reassembly/content")
	assert.NotContains(t, string(out), "offpath/detect")
}
