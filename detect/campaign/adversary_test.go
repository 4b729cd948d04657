package campaign

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
)

func TestCustomersWhoTakeUpWhatAnAttackerHadFirstAreNoHits(t *testing.T) {
	w := newTown(t, 0.08).run(2*time.Hour, 120, 0)
	next := software{fingerprint: "00000000000000c7", agent: "Mozilla/5.0 Next", ja4: "t13d_next"}
	for range 500 { // the browser of tomorrow, in the hands of an attacker today
		w.now += 1e9
		w.steal(next)
	}
	require.NotEmpty(t, w.subjects)
	clear(w.named)
	clear(w.subjects)
	for i := range 20000 {
		w.now += 1e9
		client := netip.AddrFrom4([4]byte{82, byte(i >> 8), byte(i), 1})
		w.Visit(client, next.fingerprint, w.now)
		w.try(Attempt{Client: client, Account: uint64(50000 + i), Password: uint64(i), Right: i%12 != 0, Fingerprint: next.fingerprint, UserAgent: next.agent, JA4: next.ja4})
	}
	assert.Empty(t, w.named, "accounts of customers")
	assert.Empty(t, w.subjects, "predicates after the attack")
	closed := 0
	w.Close(w.now, func(*Campaign) { closed++ })
	assert.NotZero(t, closed)
}

func TestOneAccountOfTheAttackersOwnBuysNoFreedom(t *testing.T) {
	w := newTown(t, 0.08)
	home := netip.MustParseAddr("99.0.0.1")
	own := Attempt{Client: home, Account: 1 << 40, Password: 1, Right: true, Fingerprint: tool.fingerprint, UserAgent: tool.agent, JA4: tool.ja4}
	for range 4 {
		w.run(24*time.Hour, 60, 0)
		w.try(own)
	}
	for i := range 3000 {
		w.now += 1e8
		if i%10 == 0 {
			w.try(own)
		}
		w.steal(tool)
	}
	require.NotEmpty(t, w.subjects)
	assert.Greater(t, float64(w.caught)/float64(w.fromHere), 0.95)
}

func TestWhatAnOperatorEndedStartsAnew(t *testing.T) {
	w := newTown(t, 0.08).run(2*time.Hour, 120, 0)
	for range 200 {
		w.now += 1e9
		w.steal(tool)
	}
	require.NotEmpty(t, w.subjects)
	for s := range w.subjects {
		w.Pardon(s)
	}
	clear(w.subjects)
	for range 8 {
		w.now += 1e9
		w.steal(tool)
	}
	assert.Empty(t, w.subjects, "after a few more")
	for range 200 {
		w.now += 1e9
		w.steal(tool)
	}
	assert.NotEmpty(t, w.subjects, "the attack goes on")
}

func TestThrowawayPredicatesLeaveRoomForOthers(t *testing.T) {
	w := newTown(t, 0.08).run(2*time.Hour, 120, 0)
	for i := range 300 {
		junk := software{fingerprint: "junk" + string(rune('a'+i%26)) + string(rune('a'+i/26)), agent: "x"}
		for range 25 {
			w.now += 1e8
			w.steal(junk)
		}
	}
	clear(w.subjects)
	for range 200 {
		w.now += 1e8
		w.steal(tool)
	}
	assert.Contains(t, w.subjects, subjectOf(tool.fingerprint))
}

func TestAUserAgentOfAnyLengthIsNotKept(t *testing.T) {
	w := newTown(t, 0.08)
	long := string(make([]byte, 8<<10))
	w.try(Attempt{Client: programAddress(1), Account: 1, UserAgent: long})
	for _, c := range w.cells.cells {
		assert.Empty(t, c.values.UserAgent)
	}
}

func TestWhoHidesAmongACompanysPeopleIsToldByProgram(t *testing.T) {
	w := newTown(t, 0.3).run(2*time.Hour, 120, 0)
	office := netip.MustParseAddr("62.0.0.7")
	for i := range 3000 { // people come to work, and a machine there tries passwords
		w.now += 5e8
		own := programs[i%2]
		if i%3 == 0 {
			w.Visit(office, own.fingerprint, w.now)
			w.try(Attempt{Client: office, Account: uint64(i + 1), Password: uint64(i + 1), Right: i%4 != 0, Fingerprint: own.fingerprint, UserAgent: own.agent, JA4: own.ja4})
		} else {
			w.try(Attempt{Client: office, Account: w.rng.Uint64(), Password: w.rng.Uint64(), Fingerprint: tool.fingerprint, UserAgent: tool.agent, JA4: tool.ja4})
		}
		if w.first != 0 && i > 100 {
			break
		}
	}
	assert.Equal(t, map[detect.Subject]bool{{Fingerprint: tool.fingerprint, Client: netip.MustParsePrefix("62.0.0.7/32"), Endpoint: "POST api.bank.example/login"}: true}, w.subjects)
}

func TestWhoeverHasAnAddressUnderAVerdictIsNotJudgedByProgramToo(t *testing.T) {
	w := newTown(t, 0.3).run(2*time.Hour, 120, 0)
	for range 200 {
		w.now += 5e8
		w.try(Attempt{Held: true, Client: netip.MustParseAddr("45.0.0.7"), Account: w.rng.Uint64(), Password: w.rng.Uint64(), Fingerprint: tool.fingerprint})
	}
	assert.Empty(t, w.subjects)
	assert.Zero(t, w.Stats().Campaigns)
}

// A capture that begins in an attack: addresses are not judged one by one for
// what a predicate will stop in a moment.
func TestAnAttackThatIsThereFromTheFirstSecondIsPendingForAWhile(t *testing.T) {
	w := newTown(t, 0.08)
	var pending, after []time.Duration
	for w.now < epoch+(10*time.Minute).Nanoseconds() {
		w.now += 5e8
		w.try(Attempt{Client: programAddress(w.rng.IntN(3)), Account: w.rng.Uint64(), Password: w.rng.Uint64(), Fingerprint: "few"})
		at := time.Duration(w.now - epoch)
		if r := w.try(Attempt{Client: programAddress(w.rng.IntN(40)), Account: w.rng.Uint64(), Password: w.rng.Uint64(), Fingerprint: tool.fingerprint}); r.Pending {
			pending = append(pending, at)
		} else {
			after = append(after, at)
		}
	}
	require.NotEmpty(t, pending)
	assert.LessOrEqual(t, pending[0], 20*time.Second, "as soon as it is clear that it is an attack")
	assert.InDelta(t, patience, pending[len(pending)-1].Seconds(), 2, "not for ever, where hardly anybody logs in")
	assert.Greater(t, after[len(after)-1], 9*time.Minute)
	assert.Empty(t, w.subjects)
}
