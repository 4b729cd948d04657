package judge

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/lab/internal/traffic"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/reassembly"
)

const second = int64(1e9)

// script is a Source of one login a second: at even seconds a customer's, at odd
// ones the attacker's.
type script struct {
	n, length int
	refused   []int
}

func (s *script) Next(tx *reassembly.Transaction) (traffic.Truth, bool) {
	if s.n == s.length {
		return traffic.Truth{}, false
	}
	i := s.n
	s.n++
	attack := i%2 == 1
	client := netip.AddrFrom4([4]byte{81, 0, 0, byte(i)})
	fingerprint := "app"
	if attack {
		client, fingerprint = netip.AddrFrom4([4]byte{45, 0, 0, byte(i)}), "tool"
	}
	*tx = reassembly.Transaction{Start: int64(i+1)*second - 1000, End: int64(i+1) * second, ID: fmt.Sprint(i), Client: client, Fingerprint: fingerprint}
	tx.Request.Domain = "bank.example"
	tx.Auth.UserHash = fmt.Sprint("user ", i)
	return traffic.Truth{Attack: attack, Login: true, Right: i%10 == 1}, true
}

func (s *script) Refuse(tx *reassembly.Transaction, verdict string) {
	s.refused = append(s.refused, s.n-1)
	tx.RefusedBy = verdict
}

// sayer says given lines when the transactions reach their time.
type sayer struct {
	sink     engine.Sink
	verdicts []detect.Verdict
	findings []detect.Finding
}

func (s *sayer) Observe(tx *reassembly.Transaction, _ traffic.Truth) {
	for len(s.findings) > 0 && s.findings[0].Time <= tx.End {
		s.sink.Finding(&s.findings[0])
		s.findings = s.findings[1:]
	}
	for len(s.verdicts) > 0 && s.verdicts[0].Time <= tx.End {
		s.sink.Verdict(&s.verdicts[0])
		s.verdicts = s.verdicts[1:]
	}
}

func (s *sayer) contender() Contender {
	return Contender{"sayer", func(sink engine.Sink) (Detector, error) {
		s.sink = sink
		return s, nil
	}}
}

func judged(source *script, enforced bool, say *sayer) Result {
	results, err := Judge(Case{Source: source, Onset: 2*second - 1000, Enforced: enforced, Attack: true}, say.contender())
	if err != nil {
		panic(err)
	}
	return results[0]
}

func block(id string, at, until int64, s detect.Subject) detect.Verdict {
	return detect.Verdict{ID: id, Action: detect.ActionBlock, Time: at * second, Expires: until * second, Subject: s}
}

func lift(id string, at int64) detect.Verdict {
	return detect.Verdict{ID: id, Action: detect.ActionLift, Time: at * second}
}

func TestAVerdictIsJudgedExactly(t *testing.T) {
	tool := detect.Subject{Fingerprint: "tool"}
	everybody := detect.Subject{Domain: "bank.example"}
	limited := block("v", 10, 1000, everybody)
	limited.Action, limited.Rate = detect.ActionRateLimit, detect.Rate{Requests: 1, Per: 60 * second}
	tag := block("v", 10, 1000, tool)
	tag.Action = detect.ActionTag
	for _, test := range []struct {
		name     string
		verdicts []detect.Verdict
		attack   int // of 50 logins of the attacker's, stopped
		honest   int // likewise of customers'
	}{
		{"nothing is said", nil, 0, 0},
		{"from a second after its decision until its end", []detect.Verdict{block("v", 10, 20, tool)}, 5, 0}, // those of 12, 14, 16, 18 and 20
		{"a renewal prolongs it", []detect.Verdict{block("v", 10, 20, tool), block("v", 15, 30, tool)}, 10, 0},
		{"a lift ends it", []detect.Verdict{block("v", 10, 1000, tool), lift("v", 20)}, 5, 0},
		{"what was lifted may come again", []detect.Verdict{block("v", 10, 1000, tool), lift("v", 20), block("v", 30, 40, tool)}, 10, 0},
		{"a line that comes too late begins anew", []detect.Verdict{block("v", 10, 20, tool), block("v", 30, 40, tool)}, 10, 0},
		{"a wider subject replaces the narrower", []detect.Verdict{block("v", 10, 1000, tool), block("v", 50, 60, everybody)}, 25, 4},
		{"two that match count once", []detect.Verdict{block("v", 10, 20, tool), block("w", 10, 20, tool)}, 5, 0},
		{"all members must match", []detect.Verdict{block("v", 10, 1000, detect.Subject{Fingerprint: "tool", Client: netip.MustParsePrefix("45.0.0.0/27")})}, 11, 0},
		{"an address that is not seen again", []detect.Verdict{block("v", 10, 1000, detect.Subject{Client: netip.MustParsePrefix("45.0.0.9/32")})}, 0, 0},
		{"a network of both", []detect.Verdict{block("v", 10, 21, detect.Subject{Client: netip.MustParsePrefix("0.0.0.0/0")})}, 5, 5},
		{"within a rate limit", []detect.Verdict{limited}, 0, 0},
		{"a tag stops nobody", []detect.Verdict{tag}, 0, 0},
		{"a subject that names nothing", []detect.Verdict{block("v", 10, 20, detect.Subject{})}, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			source := &script{length: 100}
			r := judged(source, false, &sayer{verdicts: test.verdicts})
			assert.InDelta(t, float64(test.attack)/50, r.Enforced, 1e-9)
			assert.Equal(t, test.honest, r.LegitHit)
			assert.Empty(t, source.refused)

			again := judged(source, true, &sayer{})
			assert.Zero(t, again.LegitHit)
			source = &script{length: 100}
			r = judged(source, true, &sayer{verdicts: test.verdicts})
			assert.Len(t, source.refused, test.attack+test.honest, "what matches is refused, and nothing else")
			assert.InDelta(t, float64(test.attack)/50, r.Enforced, 1e-9)
		})
	}
}

func TestTimesAreCountedFromTheOnset(t *testing.T) {
	tool := detect.Subject{Fingerprint: "tool"}
	one := detect.Subject{Client: netip.MustParsePrefix("45.0.0.1/32")}
	r := judged(&script{length: 100}, false, &sayer{
		findings: []detect.Finding{
			{ID: "a", Time: 6 * second, WindowStart: second, WindowEnd: 6 * second, Subject: detect.Subject{Client: netip.MustParsePrefix("9.9.9.9/32")}},
			{ID: "b", Time: 22 * second, WindowStart: 2 * second, WindowEnd: 22 * second, Subject: tool},
		},
		verdicts: []detect.Verdict{block("one", 24, 1000, one), block("class", 32, 1000, tool)},
	})
	assert.InDelta(t, 20, r.DetectSeconds, 0.001, "the finding about somebody else does not count")
	assert.Equal(t, 11, r.DetectTries)
	assert.InDelta(t, 30, r.VerdictSeconds, 0.001, "nor does a verdict against an address that is not seen again")
	assert.InDelta(t, 1, r.EnforcedAfter, 1e-9)
	assert.InDelta(t, 46.0/50, r.Detected, 1e-9, "all within the finding's window, and those under the verdict")
	assert.Equal(t, 2, r.Alarms)
	assert.Zero(t, r.Attributed)
}

func TestNamedAccountsAreThoseHeldOrGivenAsEvidence(t *testing.T) {
	hold := func(user string) detect.Verdict {
		v := block("hold "+user, 50, 1000, detect.Subject{UserHash: user})
		v.Action = detect.ActionHold
		return v
	}
	r := judged(&script{length: 100}, false, &sayer{
		findings: []detect.Finding{
			{ID: "a", Time: 40 * second, WindowStart: 40 * second, Subject: detect.Subject{Endpoint: "x"}, Evidence: detect.Evidence{Events: []string{"1", "2"}}},
		},
		verdicts: []detect.Verdict{hold("user 11"), hold("user 4"), hold("user 3")},
	})
	assert.Equal(t, 10, r.Hits)
	assert.InDelta(t, 0.2, r.HitsNamed, 1e-9)
	assert.Equal(t, 2, r.HeldWrong, "a customer's, and one whose password was not found")
	assert.InDelta(t, 1.0/50, r.Detected, 1e-9, "what is held is not for that a finding")
	assert.InDelta(t, 1e6/50, r.Attributed, 1e6/50/40, "a customer's login was given as evidence")
	assert.Zero(t, r.LegitHit, "no load balancer can hold an account")

	tool := block("v", 10, 1000, detect.Subject{Fingerprint: "tool"})
	assert.Equal(t, 1, judged(&script{length: 100}, true, &sayer{verdicts: []detect.Verdict{tool}}).Hits, "what is refused opens no account")
}

func TestContendersAreJudgedApart(t *testing.T) {
	tool := detect.Subject{Fingerprint: "tool"}
	one := &sayer{verdicts: []detect.Verdict{block("v", 10, 20, tool)}}
	other := &sayer{verdicts: []detect.Verdict{block("v", 10, 30, tool)}}
	c := Case{Source: &script{length: 100}, Onset: 2*second - 1000, Attack: true}
	results, err := Judge(c, one.contender(), other.contender())
	require.NoError(t, err)
	assert.InDelta(t, 5.0/50, results[0].Enforced, 1e-9)
	assert.InDelta(t, 10.0/50, results[1].Enforced, 1e-9)

	c.Enforced = true
	_, err = Judge(c, one.contender(), other.contender())
	assert.Error(t, err)
}

func TestACampaignIsFalseUnlessItIsAboutTheAttack(t *testing.T) {
	about := func(id string, at int64, s detect.Subject) detect.Finding {
		return detect.Finding{ID: id, Time: at * second, Kind: "campaign", WindowStart: at * second, WindowEnd: 100 * second, Subject: s, Campaign: &detect.Campaign{ID: id}}
	}
	for _, test := range []struct {
		name     string
		findings []detect.Finding
		all, not int
		detected float64 // seconds from the onset
	}{
		{"of the attacker's software", []detect.Finding{about("a", 22, detect.Subject{Fingerprint: "tool"})}, 1, 0, 20},
		{"of the customers'", []detect.Finding{about("a", 22, detect.Subject{Fingerprint: "app"})}, 1, 1, absent},
		{"of no subject", []detect.Finding{about("a", 22, detect.Subject{})}, 1, 0, 20},
		{"told again", []detect.Finding{about("a", 22, detect.Subject{Fingerprint: "tool"}), about("a", 32, detect.Subject{Fingerprint: "tool"})}, 1, 0, 20},
		{"both", []detect.Finding{about("a", 12, detect.Subject{Fingerprint: "app"}), about("b", 22, detect.Subject{Fingerprint: "tool"})}, 2, 1, 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := judged(&script{length: 100}, false, &sayer{findings: test.findings})
			assert.Equal(t, test.all, r.Campaigns)
			assert.Equal(t, test.not, r.False)
			assert.InDelta(t, test.detected, r.DetectSeconds, 0.001)
		})
	}
}

// reader takes what fingerprints tool for logins that failed, and app's for right.
type reader struct{ seen []traffic.Truth }

func (r *reader) Observe(tx *reassembly.Transaction, truth traffic.Truth) {
	r.seen = append(r.seen, truth)
	tx.Annotation.Role, tx.Annotation.EventOutcome = "login", "failure"
	if tx.Fingerprint == "app" {
		tx.Annotation.EventOutcome = "success"
	}
}

// silent is a script without labels but which requests are the attacker's.
type silent struct{ script }

func (s *silent) Next(tx *reassembly.Transaction) (traffic.Truth, bool) {
	truth, more := s.script.Next(tx)
	return traffic.Truth{Attack: truth.Attack, Down: true}, more
}

func TestWithoutLabelsTheFirstContenderSaysWhatLoginsAre(t *testing.T) {
	first, second := new(reader), new(reader)
	build := func(r *reader) Contender {
		return Contender{"reader", func(engine.Sink) (Detector, error) { return r, nil }}
	}
	results, err := Judge(Case{Source: &silent{script{length: 100}}, Onset: OnsetUnknown, Attack: true, ByRole: true}, build(first), build(second))
	require.NoError(t, err)
	assert.Equal(t, 50, results[0].Attacks)
	assert.Equal(t, traffic.Truth{Attack: true, Down: true}, first.seen[1])
	assert.Equal(t, traffic.Truth{Login: true, Right: true, Down: true}, second.seen[0])
	assert.Equal(t, traffic.Truth{Attack: true, Login: true, Down: true}, second.seen[1])
}
