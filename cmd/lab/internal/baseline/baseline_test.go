package baseline

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/cmd/lab/internal/traffic"
	"offpath/detect"
	"offpath/detect/engine"
	"offpath/reassembly"
)

type list struct{ verdicts []string }

func (l *list) Finding(*detect.Finding) {}
func (l *list) Verdict(v *detect.Verdict) {
	s := v.Subject.Endpoint + v.Subject.UserHash
	if v.Subject.Client.IsValid() {
		s = v.Subject.Client.String()
	}
	l.verdicts = append(l.verdicts, fmt.Sprint(v.Action, " ", s, " at ", v.Time/1e9, " until ", v.Expires/1e9))
}

type detector interface {
	Observe(*reassembly.Transaction, traffic.Truth)
}

func TestTheyDecideWhereTheirModelsDo(t *testing.T) {
	bucket := func(s engine.Sink) detector { return NewBucket(s) }
	thresholds := func(s engine.Sink) detector { return NewThresholds(s) }
	sequential := func(s engine.Sink) detector {
		d := NewSequential(s)
		for i := range learned { // 8 % fail at first
			say(d, "81.0.0.9", "somebody", 0, i%25 > 1)
		}
		return d
	}
	for _, test := range []struct {
		name   string
		make   func(engine.Sink) detector
		every  int // seconds
		n      int
		users  bool // another one each time
		right  func(int) bool
		spread bool // another address each time
		want   []string
	}{
		{name: "a bucket holds five", make: bucket, every: 1, n: 5},
		{name: "and flows over with the sixth", make: bucket, every: 1, n: 6, want: []string{"block 45.0.0.0/32 at 6 until 14406"}},
		{name: "unless it leaks", make: bucket, every: 10, n: 100},
		{name: "who succeeds does not fill it", make: bucket, every: 1, n: 100, right: func(int) bool { return true }},
		{name: "nor do a hundred addresses", make: bucket, every: 1, n: 100, spread: true},
		{name: "twenty failures of an address", make: thresholds, every: 1, n: 21, users: true, want: []string{"block 45.0.0.0/32 at 20 until 3620"}},
		{name: "three of an account", make: thresholds, every: 1, n: 4, want: []string{"hold user at 3 until 3603"}},
		{name: "a hundred of a login in fifteen minutes", make: thresholds, every: 1, n: 120, users: true, spread: true,
			want: []string{"challenge POST bank.example/login at 100 until 3700"}},
		{name: "but not in an hour", make: thresholds, every: 36, n: 100, users: true, spread: true},
		{name: "six failures in a row where 8 % fail", make: sequential, every: 1, n: 6, want: []string{"block 45.0.0.0/32 at 6 until 3606"}},
		{name: "not with a success between", make: sequential, every: 1, n: 7, right: func(i int) bool { return i == 3 }},
		{name: "nor from as many addresses", make: sequential, every: 1, n: 100, spread: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var sink list
			d := test.make(&sink)
			for i := range test.n {
				user, client := "user", "45.0.0.0"
				if test.users {
					user = fmt.Sprint("user", i)
				}
				if test.spread {
					client = fmt.Sprintf("45.0.0.%d", i)
				}
				say(d, client, user, (i+1)*test.every, test.right != nil && test.right(i))
			}
			assert.Equal(t, test.want, sink.verdicts)
		})
	}
}

func say(d detector, client, user string, at int, right bool) {
	tx := &reassembly.Transaction{End: int64(at) * 1e9, Client: netip.MustParseAddr(client)}
	tx.Request.Method, tx.Request.Domain, tx.Request.Path, tx.Response.Status = "POST", "bank.example", "/login", 200
	tx.Auth.UserHash = user
	d.Observe(tx, traffic.Truth{Login: true, Right: right})
}

func TestAnAnswerOfAServerInTroubleIsNoFailure(t *testing.T) {
	var sink list
	for _, d := range []detector{NewBucket(&sink), NewThresholds(&sink), NewSequential(&sink)} {
		for i := range 2000 {
			tx := &reassembly.Transaction{End: int64(i) * 1e6, Client: netip.MustParseAddr("45.0.0.1")}
			tx.Response.Status = 503
			d.Observe(tx, traffic.Truth{Login: true})
		}
	}
	assert.Empty(t, sink.verdicts)
}
