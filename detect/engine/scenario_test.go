package engine

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/reassembly"
)

// epoch is when every scenario begins.
var epoch = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC).UnixNano()

func at(d time.Duration) int64 { return epoch + d.Nanoseconds() }

// recorder is a Sink that keeps every line.
type recorder struct {
	found   []*detect.Finding
	decided []*detect.Verdict
}

func (r *recorder) Finding(f *detect.Finding) { r.found = append(r.found, f) }
func (r *recorder) Verdict(v *detect.Verdict) { r.decided = append(r.decided, v) }

// blocked is the subjects that were ever blocked, each once, in order.
func (r *recorder) blocked() []string {
	var list []string
	for _, v := range r.decided {
		if s := v.Subject.Client.String(); v.Action == detect.ActionBlock && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// under is how many of an attack's addresses were ever blocked, by themselves
// or by their network.
func (r *recorder) under(a attack) int {
	blocked, n := r.blocked(), 0
	for i := range a.addresses {
		client := netip.MustParseAddr(a.client(i))
		if slices.ContainsFunc(blocked, func(s string) bool {
			p, err := netip.ParsePrefix(s)
			return err == nil && p.Contains(client)
		}) {
			n++
		}
	}
	return n
}

// ids is the distinct ids of verdicts about a subject.
func (r *recorder) ids(subject string) []string {
	var list []string
	for _, v := range r.decided {
		if v.Subject.Client.String() == subject && !slices.Contains(list, v.ID) {
			list = append(list, v.ID)
		}
	}
	return list
}

// bench is an engine with its recorder.
type bench struct {
	*Engine
	*recorder
	t *testing.T
	n int
}

func newBench(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	var cfg Config
	for _, c := range change {
		c(&cfg)
	}
	r := new(recorder)
	e, err := New(cfg, r)
	require.NoError(t, err)
	return &bench{Engine: e, recorder: r, t: t}
}

// try is one login attempt.
type try struct {
	at       time.Duration
	client   string
	account  string
	password string
	right    bool
	status   int    // instead of what right says
	refused  string // verdict id
	web      bool   // a form with redirects instead of JSON
}

// hash16 stands for the sensor's keyed hash.
func hash16(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf("%016x", number("x"+s))
}

// transaction is what the sensor would make of a try.
func (y try) transaction(n int) *reassembly.Transaction {
	client := netip.MustParseAddr(y.client)
	tx := &reassembly.Transaction{
		Start: at(y.at) - 20e6, End: at(y.at), Duration: 20e6, ID: fmt.Sprintf("tx%08d", n), CommunityID: fmt.Sprint("1:", n), Complete: true,
		Source: netip.AddrPortFrom(client, uint16(1024+n%60000)), Client: client, Destination: netip.MustParseAddrPort("198.51.100.1:80"),
		HTTPVersion: "1.1", RefusedBy: y.refused,
		Auth: reassembly.Auth{
			Carrier: "json", UserField: "username", PasswordField: "password", PasswordFields: 1,
			UserHash: hash16(y.account), PasswordHash: hash16(y.password),
		},
	}
	tx.Request.Method, tx.Request.Domain, tx.Request.Path = "POST", "api.bank.example", "/v1/login"
	r := &tx.Response
	r.Signature.Media, r.Signature.Length = "json", 7
	switch {
	case y.refused != "":
		r.Status = 403
	case y.status != 0:
		r.Status = y.status
	case y.web && y.right:
		r.Status, r.Signature.Location, r.Signature.Cookies = 302, "/account", []string{"sid"}
	case y.web:
		r.Status, r.Signature.Location = 302, "/login"
	case y.right:
		r.Status, r.Signature.Keys = 200, "00000000000000aa"
	default:
		r.Status, r.Signature.Keys, r.Signature.Code = 401, "00000000000000bb", "invalid_credentials"
	}
	if y.web {
		tx.Request.Path, tx.Auth.Carrier = "/login", "form"
	}
	if y.right && y.refused == "" && y.status == 0 {
		tx.Auth.SessionIssued, tx.Auth.TokenIssued = []string{hash16(fmt.Sprint("session", n))}, true
	}
	return tx
}

// try feeds one attempt and returns its transaction.
func (b *bench) try(y try) *reassembly.Transaction {
	b.n++
	tx := y.transaction(b.n)
	b.Observe(tx)
	return tx
}

// run feeds attempts in the order of their time.
func (b *bench) run(tries ...[]try) *bench {
	for _, y := range merge(tries...) {
		b.try(y)
	}
	return b
}

func merge(tries ...[]try) []try {
	all := slices.Concat(tries...)
	slices.SortStableFunc(all, func(a, b try) int { return int(a.at - b.at) })
	return all
}

// customers are people at home who log in, each once or a few times, with a
// share of wrong passwords, of which most are put right within seconds.
func customers(seed uint64, n int, from, length time.Duration, failures float64) []try {
	rng := rand.New(rand.NewPCG(seed, 1))
	var list []try
	for i := range n {
		client := fmt.Sprintf("81.%d.%d.%d", i>>16&255, i>>8&255, i&255)
		list = append(list, person(rng, client, fmt.Sprint("customer", i), from+time.Duration(rng.Int64N(int64(length))), failures)...)
	}
	return list
}

// office is a company's people behind one address.
func office(seed uint64, client string, n int, from, length time.Duration, failures float64) []try {
	rng := rand.New(rand.NewPCG(seed, 2))
	var list []try
	for i := range n {
		list = append(list, person(rng, client, fmt.Sprint("employee", i), from+time.Duration(rng.Int64N(int64(length))), failures)...)
	}
	return list
}

func person(rng *rand.Rand, client, account string, when time.Duration, failures float64) []try {
	var list []try
	for k := 0; k < 4 && rng.Float64() < failures; k++ {
		list = append(list, try{at: when, client: client, account: account, password: fmt.Sprint(account, " typo ", k)})
		when += 3*time.Second + time.Duration(rng.Int64N(int64(10*time.Second)))
	}
	return append(list, try{at: when, client: client, account: account, password: fmt.Sprint(account, " right"), right: true})
}

// attack is credential stuffing from several addresses that start one after
// the other and then try a pair each period; a share of the pairs is right.
type attack struct {
	seed      uint64
	addresses int
	from      time.Duration
	ramp      time.Duration // until the last address has started
	length    time.Duration
	period    time.Duration // between two tries of one address
	right     float64
}

func (a attack) client(i int) string { return fmt.Sprintf("45.%d.%d.%d", i>>16&255, i>>8&255, i&255) }

func (a attack) tries() []try {
	rng := rand.New(rand.NewPCG(a.seed, 3))
	var list []try
	for i := range a.addresses {
		when := a.from + a.ramp*time.Duration(i)/time.Duration(a.addresses)
		for k := 0; when < a.from+a.length; k++ {
			list = append(list, try{
				at: when, client: a.client(i), account: fmt.Sprintf("victim%d-%d", i, k), password: fmt.Sprintf("leaked%d-%d", i, k), right: rng.Float64() < a.right,
			})
			when += a.period/2 + time.Duration(rng.Int64N(int64(a.period)))
		}
	}
	return list
}

// enforced drops or marks what the engine's own verdicts refuse, as a load
// balancer would from delay after each verdict on: marked requests are seen in
// front of it, dropped ones were behind.
func (b *bench) enforced(front bool, delay time.Duration, hits time.Duration, tries ...[]try) (made, refused int) {
	counts := make(map[string]uint64)
	last := time.Duration(0)
	for _, y := range merge(tries...) {
		for hits > 0 && y.at-last >= hits {
			last += hits
			b.Advance(at(last))
			b.Hits(report(counts))
		}
		b.Advance(at(y.at))
		made++
		v := b.verdictFor(y, delay)
		switch {
		case v == "":
			b.try(y)
			continue
		case front:
			y.refused = v
			b.try(y)
		}
		counts[v]++
		refused++
	}
	return made, refused
}

// report gives out the counters as a controller would, and clears them.
func report(counts map[string]uint64) []detect.Hits {
	var list []detect.Hits
	for id, n := range counts {
		list = append(list, detect.Hits{Verdict: id, Target: "lb1", Refused: n})
	}
	slices.SortFunc(list, func(a, b detect.Hits) int {
		if a.Verdict < b.Verdict {
			return -1
		}
		return 1
	})
	clear(counts)
	return list
}

// verdictFor is the verdict that a load balancer refuses a try for.
func (b *bench) verdictFor(y try, delay time.Duration) string {
	client := netip.MustParseAddr(y.client)
	for i := len(b.decided) - 1; i >= 0; i-- {
		v := b.decided[i]
		if v.Subject.Client.Contains(client) && v.Expires > at(y.at) {
			first := slices.IndexFunc(b.decided, func(o *detect.Verdict) bool { return o.ID == v.ID })
			if b.decided[first].Time+delay.Nanoseconds() <= at(y.at) {
				return v.ID
			}
		}
	}
	return ""
}
