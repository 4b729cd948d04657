package campaign

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
