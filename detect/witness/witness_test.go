package witness

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/detect"
	"offpath/reassembly"
)

const second = int64(1e9)

func verdict(id, client string) *detect.Verdict {
	v := &detect.Verdict{ID: id, Time: 100 * second}
	if client != "" {
		v.Subject.Client = netip.MustParsePrefix(client)
	}
	return v
}

// request ends at a time in seconds, refused by a verdict or answered with 200.
func request(client string, at int64, refusedBy string) *reassembly.Transaction {
	tx := &reassembly.Transaction{Start: at * second, End: at * second, Client: netip.MustParseAddr(client), RefusedBy: refusedBy}
	tx.Response.Status = 200
	return tx
}

func TestStateOfAVerdictOnTheWire(t *testing.T) {
	for _, c := range []struct {
		name     string
		requests []*reassembly.Transaction
		now      int64
		want     detect.WireState
	}{
		{"nothing came", nil, 110, detect.WireUnseen},
		{"another client's requests don't matter", []*reassembly.Transaction{request("192.0.2.2", 105, "")}, 110, detect.WireUnseen},
		{"another verdict's refusals don't matter", []*reassembly.Transaction{request("192.0.2.1", 105, "other")}, 110, detect.WireUnseen},
		{"under way when it was decided", []*reassembly.Transaction{request("192.0.2.1", 99, "")}, 110, detect.WireUnseen},
		{"answered before it can have arrived", []*reassembly.Transaction{request("192.0.2.1", 101, "")}, 110, detect.WireUnseen},
		{"answered long after", []*reassembly.Transaction{request("192.0.2.1", 105, "")}, 110, detect.WireAnswered},
		{"refused", []*reassembly.Transaction{request("192.0.2.1", 101, ""), request("192.0.2.1", 102, "v")}, 110, detect.WireRefused},
		{"refused, then answered again", []*reassembly.Transaction{request("192.0.2.1", 103, "v"), request("192.0.2.1", 104, "")}, 110, detect.WireAnswered},
		{"silent for a minute", []*reassembly.Transaction{request("192.0.2.1", 103, "v")}, 163, detect.WireGone},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := NewBook()
			b.Add(verdict("v", "192.0.2.1/32"))
			for _, tx := range c.requests {
				b.Observe(tx)
			}
			list := b.Enforcements(c.now * second)
			if assert.Len(t, list, 1) {
				assert.Equal(t, c.want, list[0].State)
				assert.Equal(t, c.now*second, list[0].Time)
			}
		})
	}
}

func TestCountersAndFirstRefusal(t *testing.T) {
	b := NewBook()
	b.Add(verdict("v", "2001:db8:1:2::/64"))
	for at := int64(103); at < 108; at++ {
		b.Observe(request("2001:db8:1:2::9", at, "v"))
	}
	b.Observe(request("2001:db8:1:2::a", 108, ""))
	b.Observe(request("2001:db8:1:3::a", 109, ""))
	assert.Equal(t, []detect.Enforcement{{
		Verdict: "v", Time: 110 * second, State: detect.WireAnswered, Refused: 5, Answered: 1,
		FirstRefused: 103 * second, LastRefused: 107 * second, LastAnswered: 108 * second,
	}}, b.Enforcements(110*second))
}

func TestSubjectsOfSeveralMembersMustAllMatch(t *testing.T) {
	tx := request("192.0.2.1", 105, "")
	tx.Fingerprint, tx.Request.Domain = "f", "API.bank.example"
	tx.Auth.SessionPresented = []string{"s", "t"}
	for _, c := range []struct {
		name    string
		subject detect.Subject
		want    uint64
	}{
		{"fingerprint and domain", detect.Subject{Fingerprint: "f", Domain: "api.bank.example"}, 1},
		{"another fingerprint", detect.Subject{Fingerprint: "g", Domain: "api.bank.example"}, 0},
		{"a session among several", detect.Subject{Session: "t"}, 1},
		{"another user agent", detect.Subject{UserAgent: "x"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := NewBook()
			b.Add(&detect.Verdict{ID: "v", Time: 1, Subject: c.subject})
			b.Observe(tx)
			assert.Equal(t, c.want, b.Enforcements(106 * second)[0].Answered)
		})
	}
}

func TestWhatIsRemovedIsFollowedNoMore(t *testing.T) {
	b := NewBook()
	for id, client := range map[string]string{"a": "192.0.2.1/32", "b": "192.0.2.0/24", "c": ""} {
		b.Add(verdict(id, client))
	}
	b.Remove("a")
	b.Remove("nothing")
	b.Observe(request("192.0.2.1", 105, ""))
	list := b.Enforcements(106 * second)
	assert.Len(t, list, 2)
	assert.Equal(t, "b", list[0].Verdict)
	assert.EqualValues(t, 1, list[0].Answered)
	b.Remove("b")
	b.Remove("c")
	assert.Zero(t, b.Len())
	assert.Empty(t, b.byClient)
	assert.Empty(t, b.others)
	assert.Empty(t, append(b.lengths[0], b.lengths[1]...))
}

func TestObservingAllocatesNothing(t *testing.T) {
	b := NewBook()
	b.Add(verdict("v", "192.0.2.0/24"))
	tx := request("192.0.2.1", 105, "")
	assert.Zero(t, testing.AllocsPerRun(100, func() { b.Observe(tx) }))
}

func TestVerdictsWithoutAClientAreFoundByWhatTheyName(t *testing.T) {
	tx := request("192.0.2.1", 105, "")
	tx.Fingerprint, tx.JA4, tx.Request.UserAgent, tx.Request.Domain, tx.Annotation.Endpoint = "f", "j", "u", "bank.example", "GET a/b"
	tx.Auth.SessionPresented = []string{"s1", "s2", "s2"}
	for _, c := range []struct {
		name    string
		subject detect.Subject
		want    uint64
	}{
		{"a session", detect.Subject{Session: "s2"}, 1},
		{"another session", detect.Subject{Session: "s3"}, 0},
		{"a session of other software", detect.Subject{Session: "s2", Fingerprint: "g"}, 0},
		{"software", detect.Subject{Fingerprint: "f"}, 1},
		{"software at an endpoint", detect.Subject{Fingerprint: "f", Endpoint: "GET a/b"}, 1},
		{"software at another endpoint", detect.Subject{Fingerprint: "f", Endpoint: "GET a/c"}, 0},
		{"a User-Agent", detect.Subject{UserAgent: "u"}, 1},
		{"a JA4 with another User-Agent", detect.Subject{JA4: "j", UserAgent: "v"}, 0},
		{"a JA4", detect.Subject{JA4: "j"}, 1},
		{"an endpoint", detect.Subject{Endpoint: "GET a/b"}, 1},
		{"a domain", detect.Subject{Domain: "BANK.example"}, 1},
		{"another domain", detect.Subject{Domain: "shop.example"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := NewBook()
			b.Add(&detect.Verdict{ID: "other", Time: 100 * second, Subject: detect.Subject{Session: "s9", Fingerprint: "f"}})
			b.Add(&detect.Verdict{ID: "v", Time: 100 * second, Subject: c.subject})
			b.Observe(tx)
			e, ok := b.Enforcement("v", 106*second)
			assert.True(t, ok)
			assert.Equal(t, c.want, e.Answered)
			b.Remove("v")
			b.Remove("other")
			b.Observe(tx)
			assert.Zero(t, b.Len())
			for i := range b.byMember {
				assert.Empty(t, b.byMember[i])
			}
			assert.Empty(t, b.others)
			assert.Zero(t, b.clientless)
		})
	}
}
