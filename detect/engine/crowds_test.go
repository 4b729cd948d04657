package engine

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"offpath/detect"
	"offpath/detect/policy"
)

// mishaps is a policy about what anybody can bring about under somebody else's name.
func mishaps(per ...string) policy.Statement {
	return policy.Statement{Name: "errors", When: `entity.errors > 30`, Per: per, Window: minute, Action: "block", Mode: "enforce"}
}

func TestWhatManyShareIsNotActedAgainstBecauseOfOneOfThem(t *testing.T) {
	const other = "00000000000000b2" // a program of customers who are not seen to log in
	for _, c := range []struct {
		name   string
		per    string
		shared func(i int) ask // one of those who do no harm
		misuse ask
	}{
		{"software for which nobody was seen to log in", "fingerprint",
			func(i int) ask {
				return ask{client: fmt.Sprintf("81.1.%d.%d", i>>8, i&255), session: fmt.Sprintf("%016x", 1000+i), program: other}
			}, ask{client: "45.0.0.1", program: other, status: 404}},
		{"software that abuses a key", "api_key",
			func(i int) ask {
				return ask{client: fmt.Sprintf("81.1.%d.%d", i>>8, i&255), session: fmt.Sprintf("%016x", 1000+i), program: other}
			}, ask{client: "45.0.0.1", program: other, key: abused, status: 404}},
		{"a session that stands for nobody", "session",
			func(i int) ask { return ask{client: fmt.Sprint("81.1.0.", i), session: "0000000000000077"} },
			ask{client: "45.0.0.1", session: "0000000000000077", status: 404}},
		{"an address with long sessions behind it", "client.ip",
			func(i int) ask { return ask{client: "82.0.0.1", session: fmt.Sprintf("%016x", 1000+i)} },
			ask{client: "82.0.0.1", status: 404}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, sharers := range []int{0, 200} {
				b := by(t, mishaps(c.per))
				b.bankers(30_000, minute)
				from := time.Duration(b.clock-epoch) + second
				for i := range sharers {
					a := c.shared(i)
					a.at = from
					b.ask(a)
				}
				c.misuse.at = from + second
				b.asks(40, 10*time.Millisecond, c.misuse)
				assert.NotEmpty(t, b.found)
				assert.Equal(t, sharers == 0, len(b.Active()) > 0, "%d share it", sharers)
			}
		})
	}
}

func TestSharedOnTheDayBeforeIsSharedStill(t *testing.T) {
	b := by(t, mishaps("client.ip"))
	for i := range 50 {
		b.ask(ask{at: hour, client: "82.0.0.1", session: fmt.Sprintf("%016x", 1000+i)})
	}
	b.asks(40, second, ask{at: 20 * hour, client: "82.0.0.1", status: 404})
	assert.Empty(t, b.Active())
	b.asks(40, second, ask{at: 72 * hour, client: "82.0.0.1", status: 404})
	assert.Len(t, b.Active(), 1, "but not for ever")
}

func TestWhoeverMeetsAPolicyUnderEverNewNamesLeavesRoomForTheOthers(t *testing.T) {
	for _, action := range []string{"none", "tag"} {
		b := newBench(t, func(c *Config) {
			c.Verdicts = 400
			c.Policies = stated(t, policy.Statement{Name: "seen", When: "true", Per: []string{"session"}, Action: action})
		})
		for i := range 1000 {
			b.ask(ask{at: time.Duration(i) * 10 * time.Millisecond, client: "45.0.0.9", session: fmt.Sprintf("%016x", 5000+i)})
		}
		assert.LessOrEqual(t, len(b.verdicts.byEntity), 100)
		b.stuffed()
		assert.NotEmpty(t, b.ids("45.0.0.0/32"), "a stuffer is acted against all the same")
	}
}

func TestWhatIsTooLongToKeepIsNotKept(t *testing.T) {
	b := by(t, policy.Statement{Name: "agents", When: "true", Per: []string{"user_agent"}, Action: "none"})
	b.ask(ask{client: "45.0.0.1", agent: strings.Repeat("x", 512)})
	assert.Len(t, b.found, 1)
	b.ask(ask{at: second, client: "45.0.0.1", agent: strings.Repeat("x", 513)})
	assert.Len(t, b.found, 1)
}

func TestWhatComesFromTheAllowListConvictsNobodyElse(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Mode, c.Allow = detect.ModeEnforce, []netip.Prefix{netip.MustParsePrefix("45.0.0.0/8")}
		c.Policies = stated(t, mishaps("session"))
	})
	b.asks(100, second, ask{client: "45.0.0.1", session: "0000000000000077", status: 404})
	assert.Empty(t, b.decided)
}

func TestOneProgramWithManyKeysIsActedAgainstAndPaidForOnce(t *testing.T) {
	b := by(t, transfers("api_key"))
	b.bankers(30_000, minute)
	from := time.Duration(b.clock-epoch) + second
	for key := range 20 {
		b.asks(35, 10*time.Millisecond, ask{at: from + time.Duration(key)*second, client: "45.0.0.1", key: fmt.Sprintf("%016x", 700+key), program: foreign})
	}
	assert.Len(t, b.Active(), 1)
	assert.Less(t, b.verdicts.spent(), 50.0)
}
