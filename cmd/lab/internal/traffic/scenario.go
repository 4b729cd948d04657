package traffic

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Scenario is a kind of traffic of which seeds draw examples.
type Scenario struct {
	Name string
	// About says in one line what it is and at what scale it is simulated.
	About string
	// Attack says that there is one; else whatever is found is a false alarm.
	Attack bool
	// Quiet says that nothing at all happens.
	Quiet bool

	open func(c *casting)
}

// casting is a scenario being drawn.
type casting struct {
	seed      uint64
	rand      *rand.Rand
	world     *world
	people    *people
	producers []producer
	run       *Run
}

// Run is a scenario with a seed.
type Run struct {
	*Stream
	// Onset is the event time at which what the scenario is about begins, ns
	// since the epoch.
	Onset int64
	// Stop is the event time after which no visit begins.
	Stop int64
	// Notes say what the seed has drawn.
	Notes []string
}

// Scenarios lists all, in the order in which they are reported.
func Scenarios() []Scenario { return slices.Clone(scenarios) }

// Select finds the scenarios whose names are given, or begin with what is given
// and a dash: B2 stands for B2-50 and B2-5.
func Select(names []string) ([]Scenario, error) {
	var list []Scenario
	for _, name := range names {
		found := false
		for _, s := range scenarios {
			if s.Name == name || strings.HasPrefix(s.Name, name+"-") {
				list, found = append(list, s), true
			}
		}
		if !found {
			return nil, fmt.Errorf("scenario %q: there is none of that name", name)
		}
	}
	return list, nil
}

// Open draws the example of a scenario that a seed stands for. The same seed
// gives the same traffic.
func (s Scenario) Open(seed uint64) *Run {
	c := &casting{seed: seed, rand: rand.New(rand.NewPCG(seed, 1)), run: new(Run)}
	s.open(c)
	w := c.world
	c.run.Notes = append([]string{fmt.Sprintf("%.0f %% fail, %d login endpoints, %.1f logins/s", 100*w.failing, len(w.endpoints), w.rate)}, c.run.Notes...)
	c.run.Stream = newStream(w, append([]producer{c.people}, c.producers...)...)
	return c.run
}

// begin draws a bank and its customers: how long it is quiet, and for how long
// then something happens.
func (c *casting) begin(endpoints int, accounts uint64, rate float64, before, during time.Duration) {
	c.world = newWorld(c.seed, endpoints, accounts, rate)
	c.run.Onset = c.world.start + before.Nanoseconds()
	c.run.Stop = c.run.Onset + during.Nanoseconds()
	c.people = newPeople(c.world, c.run.Stop)
}

func (c *casting) add(p producer) { c.producers = append(c.producers, p) }

func (c *casting) note(format string, args ...any) {
	c.run.Notes = append(c.run.Notes, fmt.Sprintf(format, args...))
}

// minutes draws a length of time.
func (c *casting) minutes(low, high float64) time.Duration {
	return time.Duration(between(c.rand, low, high) * float64(time.Minute))
}

// attack draws one at a share of all logins from the onset on.
func (c *casting) attack(l level, share float64) *attack {
	a := newAttack(c.world, l, c.run.Onset, c.run.Stop)
	base := c.world.rate * c.world.intensity(c.run.Onset)
	rate := base * share / (1 - share)
	a.rate = func(int64) float64 { return rate }
	c.add(a)
	c.note("A%d, %.2f %% of logins, %.2f/s at %d endpoints, %d programs", l, 100*share, rate, len(a.targets), len(a.tools)+len(a.later))
	return a
}

var scenarios = []Scenario{
	{Name: "B1", Attack: true, About: "burst: 90 % of logins automated over 1 to 50 endpoints, A1, 200 to 20,000 addresses", open: func(c *casting) {
		c.begin(1+c.rand.IntN(48), 200_000, between(c.rand, 8, 25), c.minutes(12, 25), c.minutes(8, 15))
		a := c.attack(levelTool, 0.9)
		a.pool = newPool(a.rand, &c.world.net, uint64(logBetween(c.rand, 200, 20_000)), between(c.rand, 0.4, 1))
		a.reuse = true
		c.note("%d addresses", a.pool.size)
	}},
	{Name: "B2-50", Attack: true, About: "rotation at 50 % of logins, A1 or A2, one request each of 400,000 to 1,000,000 addresses", open: func(c *casting) { rotation(c, 0.5, 150, 200) }},
	{Name: "B2-5", Attack: true, About: "rotation at 5 % of logins, A1 or A2; of 400,000 to 1,000,000 addresses those of the first hours", open: func(c *casting) { rotation(c, 0.05, 150, 200) }},
	{Name: "B7", Attack: true, About: "spraying: one popular password at 100,000 accounts, A1 to A3; the first hours", open: func(c *casting) {
		c.begin(1+c.rand.IntN(6), 100_000, between(c.rand, 5, 15), c.minutes(30, 60), c.minutes(60, 90))
		l := pick(c.rand, []level{levelTool, levelCopy, levelMimic})
		a := c.attack(l, between(c.rand, 0.05, 0.3))
		a.spray, a.known = true, between(c.rand, 0.9, 1)
		a.pool = newPool(a.rand, &c.world.net, 1<<20, between(c.rand, 0.7, 1))
	}},
	{Name: "N1", About: "flash crowd: 20 times the logins for ten minutes", open: func(c *casting) {
		c.begin(1+c.rand.IntN(10), 300_000, between(c.rand, 4, 8), c.minutes(20, 40), c.minutes(25, 30))
		rise := c.run.Onset
		fall := rise + int64(10*time.Minute)
		c.people.speed = func(now int64) float64 {
			if now >= rise && now < fall {
				return 20
			}
			return 1
		}
	}},
	{Name: "N2", About: "corporate NAT: 5,000 people behind one address come to work", open: func(c *casting) {
		c.begin(1+c.rand.IntN(10), 200_000, between(c.rand, 4, 10), c.minutes(20, 40), c.minutes(100, 140))
		length := c.minutes(40, 90).Nanoseconds()
		c.add(newOffice(c.world, c.run.Onset, length, 5000))
		c.note("within %d minutes", length/60e9)
	}},
}

// rotation is an attack that uses every address once.
func rotation(c *casting, share, shortest, longest float64) {
	c.begin(1+c.rand.IntN(12), 500_000, between(c.rand, 20, 35), c.minutes(30, 60), c.minutes(shortest, longest))
	a := c.attack(pick(c.rand, []level{levelTool, levelCopy, levelCopy}), share)
	a.pool = newPool(a.rand, &c.world.net, uint64(between(c.rand, 400_000, 1_000_000)), between(c.rand, 0.7, 1))
	c.note("of %d addresses", a.pool.size)
}

// office is a company whose people come to work: all behind one address, each
// with the habits that they have at home.
type office struct {
	*people
	address netip.Addr
	left    int
	length  int64
	staff   int
}

func newOffice(w *world, from, length int64, staff int) *office {
	o := &office{people: newPeople(w, never), left: staff, length: length, staff: staff}
	o.rand = rand.New(rand.NewPCG(w.seed, 5))
	o.address = w.net.offices[0]
	o.clock = from
	return o
}

func (o *office) spawn(v *visit) {
	now := o.clock
	v.account = mix(uint64(o.left), ofOffice) % o.w.accounts
	v.software, v.endpoint = o.w.habits(v.account)
	v.user, v.client = o.w.user(v.account), o.address
	o.plan(v, now)
	o.left--
	o.clock += int64(o.rand.ExpFloat64() * float64(o.length) / float64(o.staff))
	if o.left == 0 {
		o.clock = never
	}
}
